import Contracts
import Database
import HTTP
import JSON
import Jobs
import Sharding
import TestSupport
import Testing

@testable import Posts

@Suite struct `Likes` {
    @Test func `the count is exact when many like and unlike at once`() async throws {
        try await PostsWorld.run { world in
            let id = try await world.post("status=like+me", by: world.aUser(1))
            let actors = (10..<40).map { world.aUser($0, onShard: $0 % 2) }

            try await withThrowingTaskGroup(of: Void.self) { group in
                for (number, actor) in actors.enumerated() {
                    // Each likes three times at once; every third takes it back in between.
                    for _ in 0..<3 {
                        group.addTask {
                            _ = try await world.ask(
                                .post,
                                "/api/v1/statuses/\(id)/favourite",
                                as: actor
                            )
                        }
                    }
                    if number % 3 == 0 {
                        group.addTask {
                            _ = try await world.ask(
                                .post,
                                "/api/v1/statuses/\(id)/unfavourite",
                                as: actor
                            )
                        }
                    }
                }
                try await group.waitForAll()
            }
            for actor in actors.prefix(5) {
                _ = try await world.ask(.post, "/api/v1/statuses/\(id)/unfavourite", as: actor)
            }

            let status = try await world.ask(.get, "/api/v1/statuses/\(id)")
            let likers = try await world.ask(
                .get,
                "/api/v1/statuses/\(id)/favourited_by?limit=80"
            )
            #expect(try status.json["favourites_count"]?.int == likers.json.array?.count)
            #expect(try likers.json.array?.count ?? 0 <= 25)
        }
    }

    @Test func `the actor's own list says what the posts say, whatever becomes of the effects`()
        async throws
    {
        try await PostsWorld.run { world in
            let actor = world.aUser(5, onShard: 1)
            var liked: [PostID] = []
            for number in 0..<6 {
                let id = try await world.post("status=\(number)", by: world.aUser(number + 1))
                _ = try await world.ask(.post, "/api/v1/statuses/\(id)/favourite", as: actor)
                if number % 2 == 0 {
                    _ = try await world.ask(.post, "/api/v1/statuses/\(id)/unfavourite", as: actor)
                } else {
                    liked.append(id)
                }
            }

            try await world.runEffects(shuffled: true, twice: true)

            let list = try await world.ask(.get, "/api/v1/favourites", as: actor)
            #expect(
                try list.json.array?.compactMap { $0["id"]?.string }
                    == liked.reversed().map(\.description)
            )
            #expect(try list.json[0]?["favourited"]?.bool == true)
        }
    }

    @Test func `hundreds of likes at once are few effects, and each shows in its actor's list`()
        async throws
    {
        try await PostsWorld.run { world in
            let id = try await world.post("status=like+me", by: world.aUser(1))
            let actors = (10..<310).map { world.aUser($0, onShard: $0 % 2) }

            let answers = try await withThrowingTaskGroup(of: PostsWorld.Answer.self) { group in
                for actor in actors {
                    group.addTask {
                        try await world.ask(.post, "/api/v1/statuses/\(id)/favourite", as: actor)
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            let effects = try await world.outbox(EffectKinds.postsFavourite)
            try await world.runEffects(shuffled: true, twice: true)

            #expect(try answers.allSatisfy { try $0.json["favourited"]?.bool == true })
            #expect(effects < 40, "\(effects)")
            let status = try await world.ask(.get, "/api/v1/statuses/\(id)")
            #expect(try status.json["favourites_count"]?.int == actors.count)
            for actor in [actors[0], actors[1], actors[299]] {
                let list = try await world.ask(.get, "/api/v1/favourites", as: actor)
                #expect(try list.json.array?.compactMap { $0["id"]?.string } == [id.description])
            }
        }
    }

    @Test func `the answer shows what the action has made of the post`() async throws {
        try await PostsWorld.run { world in
            let author = world.aUser(1), actor = world.aUser(2, onShard: 1)
            let id = try await world.post("status=count+me", by: author)
            func act(_ action: String, _ user: UserID) async throws -> String {
                let json = try await world.ask(.post, "/api/v1/statuses/\(id)/\(action)", as: user)
                    .json
                let marks = ["favourited", "bookmarked", "pinned"].map {
                    json[$0]?.bool.map { $0 ? "1" : "0" } ?? "-"
                }
                return "\(json["favourites_count"]?.int ?? -1) " + marks.joined()
            }

            #expect(try await act("favourite", actor) == "1 10-")
            #expect(try await act("favourite", actor) == "1 10-")
            #expect(try await act("bookmark", actor) == "1 11-")
            #expect(try await act("unfavourite", actor) == "0 01-")
            #expect(try await act("unfavourite", actor) == "0 01-")
            #expect(try await act("favourite", author) == "1 100")
            #expect(try await act("pin", author) == "1 101")
            #expect(try await act("unpin", author) == "1 100")
        }
    }

    @Test func `a like of a post that is deleted meanwhile is refused, and no other`() async throws
    {
        try await PostsWorld.run { world in
            let author = world.aUser(1), actor = world.aUser(2, onShard: 1)
            let gone = try await world.post("status=gone", by: author)
            let left = try await world.post("status=left", by: author)
            _ = try await world.ask(.delete, "/api/v1/statuses/\(gone)", as: author)
            let store = world.service.directory.favourites

            async let first = store.set(liked: true, gone, by: actor, trace: nil)
            async let second = store.set(liked: true, left, by: actor, trace: nil)
            async let third = store.set(liked: false, left, by: author, trace: nil)
            let outcomes = try await [first, second, third]

            #expect(outcomes == [.gone, .changed, .unchanged])
        }
    }

    @Test func `an effect of the first version reads what is true`() async throws {
        try await PostsWorld.run { world in
            let id = try await world.post("status=old", by: world.aUser(1))
            let actor = world.aUser(2, onShard: 1)
            _ = try await world.ask(.post, "/api/v1/statuses/\(id)/favourite", as: actor)
            try await world.shards[0].psql("DELETE FROM jobs.outbox")
            let payload = FavouriteEffect(actor: actor, post: id).jsonBytes
            try await world.shards[0].psql(
                """
                INSERT INTO jobs.outbox (bucket, id, kind, version, payload)
                VALUES (\(id.bucket), 1, '\(EffectKinds.postsFavourite)', 1,
                    '\(String(decoding: payload, as: UTF8.self))')
                """
            )

            try await world.runEffects(twice: true)

            let list = try await world.ask(.get, "/api/v1/favourites", as: actor)
            #expect(try list.json.array?.compactMap { $0["id"]?.string } == [id.description])
        }
    }

    @Test func `whatever two nodes like and take back, counts and lists end as the likes are`()
        async throws
    {
        try await PostsWorld.run { world in
            var posts: [PostID] = []
            for number in 0..<4 {
                posts.append(
                    try await world.post(
                        "status=\(number)",
                        by: world.aUser(1, onShard: number % 2)
                    )
                )
            }
            let actors = (10..<18).map { world.aUser($0, onShard: $0 % 2) }
            let other = Database(
                loop: world.loop,
                map: world.database.map,
                settings: PostsWorld.settings("app")
            )
            let nodes = [world.service.directory.favourites, FavouriteStore(database: other)]

            for _ in 0..<3 {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<150 {
                        let node = nodes.randomElement()!
                        let post = posts.randomElement()!
                        let actor = actors.randomElement()!
                        let liked = Bool.random()
                        group.addTask {
                            let outcome = try await node.set(
                                liked: liked,
                                post,
                                by: actor,
                                trace: nil
                            )
                            #expect(outcome != .gone)
                        }
                    }
                    try await group.waitForAll()
                }
                try await world.runEffects(shuffled: true, twice: true)
            }
            await other.close()

            func rows(_ sql: String) async throws -> Set<Substring> {
                var all: [String] = []
                for shard in world.shards { all.append(try await shard.psql(sql)) }
                return Set(all.joined(separator: "\n").split(separator: "\n"))
            }
            let truth = try await rows("SELECT post, actor, id FROM posts.favourite WHERE active")
            let mirror = try await rows("SELECT post, actor, id FROM posts.favourited WHERE active")
            let counts = try await rows(
                "SELECT subject, value FROM counters.current WHERE kind = 1 AND value <> 0"
            )
            let likes = Dictionary(grouping: truth) { $0.split(separator: "|")[0] }
            #expect(mirror == truth)
            #expect(counts == Set(likes.map { "\($0)|\($1.count)" }))
        }
    }

    @Test func `bookmarks are kept once and seen by their owner alone`() async throws {
        try await PostsWorld.run { world in
            let id = try await world.post("status=keep", by: world.aUser(1))
            let owner = world.aUser(2, onShard: 1)

            for _ in 0..<2 {
                let answer = try await world.ask(
                    .post,
                    "/api/v1/statuses/\(id)/bookmark",
                    as: owner
                )
                #expect(try answer.json["bookmarked"]?.bool == true)
            }

            let own = try await world.ask(.get, "/api/v1/bookmarks", as: owner)
            let others = try await world.ask(.get, "/api/v1/bookmarks", as: world.aUser(1))
            #expect(try own.json.array?.count == 1)
            #expect(try others.json.array?.isEmpty == true)
            let removed = try await world.ask(
                .post,
                "/api/v1/statuses/\(id)/unbookmark",
                as: owner
            )
            #expect(try removed.json["bookmarked"]?.bool == false)
        }
    }
}
