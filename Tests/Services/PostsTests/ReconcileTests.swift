import Contracts
import Counters
import Database
import HTTP
import JSON
import Sharding
import TestSupport
import Testing

@testable import Posts

@Suite struct `Recounting` {
    private static let likes = CountedKind(kind: CounterKind.likes.rawValue, name: "likes")

    @Test func `what drifted is found, reported and repaired, and nothing else while users like`()
        async throws
    {
        try await PostsWorld.run { world in
            let author = world.aUser(1)
            var made: [PostID] = []
            for number in 0..<6 {
                made.append(try await world.post("status=\(number)", by: author))
            }
            let posts = made
            for actor in 10..<13 {
                for post in posts { try await world.like(post, as: world.aUser(actor)) }
            }
            try await world.fold()
            let shard = try world.shard(of: author)
            try await shard.psql(
                """
                UPDATE counters.total SET amount = amount + 7 WHERE subject = \(posts[1]) AND kind = 1;
                DELETE FROM counters.total WHERE subject = \(posts[4]) AND kind = 1;
                INSERT INTO counters.delta (bucket, subject, kind, amount)
                VALUES (\(author.bucket), \(posts[5]), 1, -2);
                """
            )

            let wrong = Found()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for actor in 20..<32 {
                    group.addTask {
                        for post in posts { try await world.like(post, as: world.aUser(actor)) }
                        try await world.unlike(posts[0], as: world.aUser(actor))
                    }
                }
                group.addTask {
                    for _ in 0..<12 { try await world.fold() }
                }
                // Two recounts at once: what one repairs, the other leaves alone.
                for _ in 0..<2 {
                    group.addTask {
                        for _ in 0..<6 { wrong.drifts += try await world.recount(author.bucket) }
                    }
                }
                try await group.waitForAll()
            }

            let found = wrong.drifts.map { [$0.subject, Int64($0.truth - $0.counted)] }
            #expect(
                Set(found) == [
                    [posts[1].rawValue, -7], [posts[4].rawValue, 3], [posts[5].rawValue, 2],
                ]
            )
            #expect(found.count == 3)
            #expect(try await world.recount(author.bucket).isEmpty)
            for post in posts {
                let status = try await world.ask(.get, "/api/v1/statuses/\(post)")
                let expected = post == posts[0] ? 3 : 15
                #expect(try status.json["favourites_count"]?.int == expected, "\(post)")
            }
        }
    }

    @Test func `answers and posts are recounted, those that were never counted too`() async throws {
        try await PostsWorld.run { world in
            let author = world.aUser(1)
            let parent = try await world.post("status=parent", by: author)
            for number in 0..<3 {
                _ = try await world.post(
                    "status=\(number)&in_reply_to_id=\(parent)",
                    by: world.aUser(2, onShard: 1)
                )
            }
            try await world.runEffects()
            let shard = try world.shard(of: author)
            try await shard.psql("DELETE FROM counters.delta; DELETE FROM counters.total")

            let drifts = try await world.recount(author.bucket)

            #expect(
                drifts.map { [$0.kind.name, "\($0.subject)", "\($0.counted)", "\($0.truth)"] }
                    == [["replies", "\(parent)", "0", "3"], ["statuses", "\(author)", "0", "1"]]
            )
            let status = try await world.ask(.get, "/api/v1/statuses/\(parent)")
            #expect(try status.json["replies_count"]?.int == 3)
        }
    }

    @Test func `a long bucket is compared piece by piece, and each count once`() async throws {
        try await PostsWorld.run { world in
            let author = world.aUser(1)
            let shard = try world.shard(of: author)
            // Posts with a truth alone, a count alone, and both, in turn.
            let post = "(n::bigint << 16) | (\(author.bucket) << 6)"
            try await shard.psql(
                """
                INSERT INTO posts.favourite (bucket, post, actor, id)
                SELECT \(author.bucket), \(post), a, n FROM generate_series(1, 90) AS n,
                    generate_series(1, 2) AS a
                WHERE n % 3 <> 0;
                INSERT INTO counters.total (bucket, subject, kind, amount)
                SELECT \(author.bucket), \(post), 1, 2 FROM generate_series(1, 90) AS n
                WHERE n % 3 <> 1;
                """
            )
            var after: Int64? = 0
            var checked = 0
            var drifts: [CountDrift] = []
            try await world.asWorker { service in
                let reconciler = Reconciler(database: service.directory.store.database)
                while let from = after {
                    let found = try await reconciler.compare(
                        Self.likes,
                        in: author.bucket,
                        after: from,
                        limit: 7
                    )
                    checked += found.checked
                    drifts += found.drifts
                    after = found.last
                }
            }

            #expect(checked == 90)
            #expect(drifts.count == 60)
            #expect(drifts.allSatisfy { abs($0.truth - $0.counted) == 2 })
            #expect(Set(drifts.map(\.subject)).count == 60)
        }
    }
}

/// What recounts have found; on the world's loop.
private final class Found: @unchecked Sendable {
    // @unchecked: the test's tasks all run on the world's loop.
    var drifts: [CountDrift] = []
}

extension PostsWorld {
    func shard(of user: UserID) throws -> TestShard {
        let name = database.shard(of: user.bucket).name
        return try require(shards.first { $0.id == name })
    }

    func like(_ post: PostID, as actor: UserID) async throws {
        let answer = try await ask(.post, "/api/v1/statuses/\(post)/favourite", as: actor)
        guard answer.status == 200 else { throw Refused(answer) }
    }

    func unlike(_ post: PostID, as actor: UserID) async throws {
        let answer = try await ask(.post, "/api/v1/statuses/\(post)/unfavourite", as: actor)
        guard answer.status == 200 else { throw Refused(answer) }
    }

    func fold() async throws {
        try await asWorker { service in
            let database = service.directory.store.database
            for shard in database.shards {
                _ = try await CounterFolder(database: database).fold(on: shard)
            }
        }
    }

    /// Recounts a bucket as a worker does; gives what it repaired.
    func recount(_ bucket: BucketID) async throws -> [CountDrift] {
        var repaired: [CountDrift] = []
        try await asWorker { service in
            let reconciler = Reconciler(database: service.directory.store.database)
            for kind in try await reconciler.kinds(on: bucket) {
                let found = try await reconciler.compare(kind, in: bucket, after: 0)
                for drift in found.drifts {
                    if let drift = try await reconciler.repair(drift) { repaired.append(drift) }
                }
            }
        }
        return repaired
    }
}
