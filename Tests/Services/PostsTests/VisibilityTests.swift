import Contracts
import HTTP
import JSON
import Sharding
import Testing

@Suite struct `What may be seen` {
    @Test func `private posts are for followers, direct ones for the mentioned`() async throws {
        try await PostsWorld.run { world in
            let author = world.aUser(1)
            let follower = world.aUser(2, onShard: 1)
            let mentioned = world.aUser(3, onShard: 1)
            let stranger = world.aUser(4)
            world.neighbours.follows = [[follower, author]]
            world.neighbours.names = ["friend": mentioned]
            let kept = try await world.post("status=private&visibility=private", by: author)
            let direct = try await world.post(
                "status=psst+%40friend&visibility=direct",
                by: author
            )

            for (id, allowed) in [
                (kept, [author, follower]), (direct, [author, mentioned]),
            ] {
                for viewer in [nil, author, follower, mentioned, stranger] {
                    let mayRead = viewer.map(allowed.contains) ?? false
                    for path in ["", "/context", "/favourited_by", "/history", "/reblogged_by"] {
                        let answer = try await world.ask(
                            .get,
                            "/api/v1/statuses/\(id)\(path)",
                            as: viewer
                        )
                        #expect(answer.status == (mayRead ? 200 : 404), "\(path)")
                        #expect(
                            mayRead
                                || !String(decoding: answer.body, as: UTF8.self)
                                    .contains("psst")
                        )
                    }
                    guard let viewer, !mayRead else { continue }
                    for action in ["favourite", "bookmark", "unfavourite", "unbookmark"] {
                        let answer = try await world.ask(
                            .post,
                            "/api/v1/statuses/\(id)/\(action)",
                            as: viewer
                        )
                        #expect(answer.status == 404, "\(action)")
                    }
                    let reply = try await world.ask(
                        .post,
                        "/api/v1/statuses",
                        "status=hm&in_reply_to_id=\(id)",
                        as: viewer
                    )
                    #expect(reply.status == 404)
                }
            }

            for (viewer, count) in [
                (nil, 0), (author, 2), (follower, 1), (mentioned, 0), (stranger, 0),
            ] {
                let list = try await world.ask(
                    .get,
                    "/api/v1/accounts/\(author)/statuses",
                    as: viewer
                )
                #expect(try list.json.array?.count == count)
            }
        }
    }

    @Test func `posts for close friends are seen by them, and clients know the word for it`()
        async throws
    {
        try await PostsWorld.run { world in
            let author = world.aUser(1)
            let friend = world.aUser(2, onShard: 1), follower = world.aUser(3, onShard: 1)
            world.neighbours.follows = [[friend, author], [follower, author]]
            world.neighbours.closeFriends = [[author, friend]]
            let id = try await world.post("status=us&visibility=close_friends", by: author)

            for (viewer, sees) in [(author, true), (friend, true), (follower, false), (nil, false)]
            {
                let one = try await world.ask(.get, "/api/v1/statuses/\(id)", as: viewer)
                let list = try await world.ask(
                    .get,
                    "/api/v1/accounts/\(author)/statuses",
                    as: viewer
                )
                #expect(one.status == (sees ? 200 : 404))
                #expect(try list.json.array?.count == (sees ? 1 : 0))
                #expect(list.headers["Link"]?.contains("\(id)") ?? false == sees)
                guard sees else { continue }
                #expect(try one.json["visibility"]?.string == "private")
                #expect(try one.json["audience"]?.string == "close_friends")
            }
        }
    }

    @Test func `a private account's posts and comments are for its followers`() async throws {
        try await PostsWorld.run { world in
            let host = world.aUser(1), author = world.aUser(2, onShard: 1)
            let follower = world.aUser(3), stranger = world.aUser(4)
            world.neighbours.follows = [[follower, author]]
            let root = try await world.post("status=root", by: host)
            world.neighbours.privateAccounts = [author]
            let post = try await world.post("status=mine", by: author)
            let comment = try await world.post("status=hm&in_reply_to_id=\(root)", by: author)
            try await world.runEffects()

            for (viewer, seesPost, seesComment) in [
                (follower, true, true), (host, false, true), (stranger, false, false),
                (nil, false, false),
            ] {
                let one = try await world.ask(.get, "/api/v1/statuses/\(post)", as: viewer)
                let context = try await world.ask(
                    .get,
                    "/api/v1/statuses/\(root)/context",
                    as: viewer
                )
                #expect(one.status == (seesPost ? 200 : 404))
                let below = try context.json["descendants"]?.array?.count
                #expect(below == (seesComment ? 1 : 0))
            }
            let status = try await world.ask(.get, "/api/v1/statuses/\(root)")
            #expect(
                try status.json["replies_count"]?.int == 0,
                "a count tells nothing of \(comment)"
            )
        }
    }

    @Test func `a comment is not seen where its post is hidden`() async throws {
        try await PostsWorld.run { world in
            let host = world.aUser(1), author = world.aUser(2, onShard: 1)
            let stranger = world.aUser(3)
            world.neighbours.follows = [[author, host]]
            let root = try await world.post("status=root&visibility=private", by: host)
            let comment = try await world.post("status=hm&in_reply_to_id=\(root)", by: author)
            let answer = try await world.post("status=ah&in_reply_to_id=\(comment)", by: author)

            for id in [comment, answer] {
                let other = try await world.ask(.get, "/api/v1/statuses/\(id)", as: stranger)
                let own = try await world.ask(.get, "/api/v1/statuses/\(id)", as: author)
                #expect(other.status == 404)
                #expect(own.status == 200)
            }
            let list = try await world.ask(
                .get,
                "/api/v1/accounts/\(author)/statuses",
                as: stranger
            )
            #expect(try list.json.array?.isEmpty == true)
            #expect(list.headers["Link"] == nil)
        }
    }

    @Test func `a restricted person's comments wait for the owner, who may let them through`()
        async throws
    {
        try await PostsWorld.run { world in
            let host = world.aUser(1), author = world.aUser(2, onShard: 1)
            let other = world.aUser(3)
            world.neighbours.restrictions = [[host, author]]
            let root = try await world.post("status=root", by: host)
            let comment = try await world.post("status=hm&in_reply_to_id=\(root)", by: author)
            try await world.runEffects(shuffled: true, twice: true)

            func seen(by viewer: UserID?) async throws -> [Int?] {
                let context = try await world.ask(
                    .get,
                    "/api/v1/statuses/\(root)/context",
                    as: viewer
                )
                let one = try await world.ask(.get, "/api/v1/statuses/\(comment)", as: viewer)
                let status = try await world.ask(.get, "/api/v1/statuses/\(root)", as: viewer)
                return [
                    try context.json["descendants"]?.array?.count, one.status,
                    try status.json["replies_count"]?.int,
                ]
            }
            let approve = "/api/tessera/v1/held_comments/\(comment)/approve"
            #expect(try await seen(by: host) == [1, 200, 0])
            #expect(try await seen(by: author) == [1, 200, 0])
            #expect(try await seen(by: other) == [0, 404, 0])
            #expect(try await seen(by: nil) == [0, 404, 0])
            let waiting = try await world.ask(.get, "/api/tessera/v1/held_comments", as: host)
            #expect(try waiting.json.array?.count == 1)
            #expect(try await world.ask(.post, approve, as: author).status == 404)
            #expect(try await world.ask(.post, approve, as: host).status == 200)
            try await world.runEffects(shuffled: true, twice: true)
            try await world.runEffects(shuffled: true, twice: true)

            for viewer in [host, author, other, nil] {
                #expect(try await seen(by: viewer) == [1, 200, 1])
            }
            #expect(try await world.ask(.post, approve, as: host).status == 404)
        }
    }

    @Test func `hidden likes are counted and listed for the author alone`() async throws {
        try await PostsWorld.run { world in
            let author = world.aUser(1), fan = world.aUser(2, onShard: 1)
            let id = try await world.post("status=a&hide_likes=true", by: author)
            _ = try await world.ask(.post, "/api/v1/statuses/\(id)/favourite", as: fan)

            for (viewer, likes) in [(author, 1), (fan, 0), (nil, 0)] {
                let status = try await world.ask(.get, "/api/v1/statuses/\(id)", as: viewer)
                let likers = try await world.ask(
                    .get,
                    "/api/v1/statuses/\(id)/favourited_by",
                    as: viewer
                )
                #expect(try status.json["favourites_count"]?.int == likes)
                #expect(try likers.json.array?.count == likes)
                #expect((likers.headers["Link"] != nil) == (likes > 0))
            }
        }
    }

    @Test func `a token without the scope, without a user, or forged is refused`() async throws {
        try await PostsWorld.run { world in
            let user = world.aUser(1)

            let narrow = try await world.ask(
                .post,
                "/api/v1/statuses",
                "status=a",
                as: user,
                scopes: "read write:media"
            )
            let nobody = try await world.ask(.post, "/api/v1/statuses", "status=a")
            let unknownScope = try await world.ask(
                .post,
                "/api/v1/statuses",
                "status=a",
                as: user,
                scopes: "everything"
            )

            #expect(narrow.status == 403)
            #expect(nobody.status == 401)
            #expect(nobody.headers["WWW-Authenticate"]?.hasPrefix("Bearer") == true)
            #expect(unknownScope.status == 401)
        }
    }
}
