import Contracts
import HTTP
import JSON
import Sharding
import TestSupport
import Testing

@Suite struct `Repeated requests` {
    @Test func `the same key and body get the first answer, another body is refused`() async throws
    {
        try await PostsWorld.run { world in
            let author = world.aUser(1)
            func send(_ form: String, _ user: UserID, _ key: String?) async throws
                -> PostsWorld.Answer
            {
                try await world.ask(.post, "/api/v1/statuses", form, as: user, key: key)
            }

            let first = try await send("status=a&sensitive=true", author, "k1")
            let again = try await send("sensitive=true&status=a", author, "k1")
            let other = try await send("status=b", author, "k1")
            let another = try await send("status=a&sensitive=true", author, "k2")
            let elsewhere = try await send("status=a&sensitive=true", world.aUser(2), "k1")

            #expect(first.status == 200)
            #expect(again.body == first.body)
            #expect(again.headers["Idempotent-Replayed"] == "true")
            #expect(other.status == 422)
            #expect(try another.id != first.id)
            #expect(try elsewhere.id != first.id)
            #expect(try await world.outbox(EffectKinds.feedFanOut) == 3)
        }
    }

    @Test func `of many at once one is done, and the others get its answer or wait`() async throws {
        try await PostsWorld.run { world in
            let author = world.aUser(1)

            let answers = try await withThrowingTaskGroup(of: PostsWorld.Answer.self) { group in
                for _ in 0..<20 {
                    group.addTask {
                        try await world.ask(
                            .post,
                            "/api/v1/statuses",
                            "status=once",
                            as: author,
                            key: "key"
                        )
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }

            let bodies = Set(answers.filter { $0.status == 200 }.map(\.body))
            #expect(bodies.count == 1)
            #expect(answers.allSatisfy { $0.status == 200 || $0.status == 409 })
            let list = try await world.ask(.get, "/api/v1/accounts/\(author)/statuses")
            #expect(try list.json.array?.count == 1)
            let late = try await world.ask(
                .post,
                "/api/v1/statuses",
                "status=once",
                as: author,
                key: "key"
            )
            #expect(bodies.contains(late.body))
        }
    }

    @Test func `a repeat after the author's bucket has moved gets the first answer`() async throws {
        try await PostsWorld.run { world in
            let author = world.aUser(1)
            let tables = try await world.shards[0].psql(
                "SELECT name FROM control.bucket_tables() WHERE is_logged"
            )
            let first = try await world.ask(
                .post,
                "/api/v1/statuses",
                "status=a",
                as: author,
                key: "k"
            )
            try await world.shards[1].psql(
                "UPDATE control.bucket_owner SET state = 'gone' WHERE bucket = \(author.bucket)"
            )
            let move = TestMove(
                author.bucket,
                from: world.shards[0],
                to: world.shards[1],
                tables: tables.split(separator: "\n").map(String.init)
            )
            try await move.run()
            try await move.clean()

            let again = try await world.ask(
                .post,
                "/api/v1/statuses",
                "status=a",
                as: author,
                key: "k"
            )

            #expect(again.status == 200)
            #expect(again.body == first.body)
            #expect(again.headers["Idempotent-Replayed"] == "true")
            let list = try await world.ask(.get, "/api/v1/accounts/\(author)/statuses")
            #expect(try list.json.array?.count == 1)
        }
    }

    @Test func `a refused request keeps no answer`() async throws {
        try await PostsWorld.run { world in
            let author = world.aUser(1)

            let refused = try await world.ask(
                .post,
                "/api/v1/statuses",
                "status=",
                as: author,
                key: "k"
            )
            let corrected = try await world.ask(
                .post,
                "/api/v1/statuses",
                "status=now",
                as: author,
                key: "k"
            )

            #expect(refused.status == 422)
            #expect(corrected.status == 200)
        }
    }
}
