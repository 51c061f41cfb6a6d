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
