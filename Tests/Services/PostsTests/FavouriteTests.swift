import Contracts
import HTTP
import JSON
import Sharding
import Testing

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
