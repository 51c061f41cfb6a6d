import Counters
import Database
import Postgres
import Sharding
import Shards
import TestSupport
import Testing

struct CounterTests {
    private enum Kind: Int16 { case likes = 1, follows = 10 }

    private struct Subject: RoutedID {
        let rawValue: Int64
    }

    private let subject = Subject(rawValue: 1_700_000_000_000 << 16 | 5 << 6)

    @Test func `a count is exact before, during and after folds`() async throws {
        let shards = try await TestCluster.make(shards: 1, modules: ["Counters"])
        let subject = subject
        try await shards.run { app, worker in
            let folder = CounterFolder(database: worker)
            let shard = worker.shards[0]
            var expected = 0
            for round in 0..<5 {
                for amount in [1, 1, -1, 3] {
                    try await app.write(
                        on: subject,
                        [Counters.append(subject: subject, kind: Kind.likes, amount: amount)]
                    )
                    expected += amount
                    let likesNow = try await Self.value(of: subject, .likes, app)
                    #expect(likesNow == expected)
                }
                let folded = try await folder.fold(on: shard)
                #expect(folded == 4, "round \(round)")
                let likesNow = try await Self.value(of: subject, .likes, app)
                #expect(likesNow == expected)
            }

            let rest = try await folder.fold(on: shard)
            #expect(rest == 0)
            let followsNow = try await Self.value(of: subject, .follows, app)
            #expect(followsNow == 0)
        }
    }

    @Test func `folders, writers and readers at once never see a wrong count`() async throws {
        let shards = try await TestCluster.make(shards: 1, modules: ["Counters"])
        let subject = subject
        try await shards.run { app, worker in
            let shard = worker.shards[0]
            let folded = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<3 {
                    group.addTask {
                        var folded = 0
                        for _ in 0..<60 {
                            folded += try await CounterFolder(database: worker).fold(on: shard)
                        }
                        return folded
                    }
                }
                group.addTask {
                    var last = 0
                    for _ in 0..<200 {
                        let seen = try await Self.value(of: subject, .likes, app)
                        // The writers only add.
                        #expect(seen >= last)
                        last = seen
                    }
                    return 0
                }
                for _ in 0..<4 {
                    group.addTask {
                        for _ in 0..<50 {
                            let one = Counters.append(
                                subject: subject,
                                kind: Kind.likes,
                                amount: 1
                            )
                            try await app.write(on: subject, [one])
                        }
                        return 0
                    }
                }
                return try await group.reduce(0, +)
            }

            let rest = try await CounterFolder(database: worker).fold(on: shard)
            #expect(folded + rest == 200)
            let likesNow = try await Self.value(of: subject, .likes, app)
            #expect(likesNow == 200)
        }
    }

    @Test func `nothing is lost or doubled when a bucket moves while its counts are folded`()
        async throws
    {
        let shards = try await TestCluster.make(shards: 2, modules: ["Counters"])
        let subject = subject
        let here = shards.shard(of: subject.bucket)
        let there = shards.shards.first { $0.id != here.id }!
        try await shards.run { app, worker in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<3 {
                    group.addTask {
                        for _ in 0..<40 {
                            let one = Counters.append(
                                subject: subject,
                                kind: Kind.likes,
                                amount: 1
                            )
                            try await app.write(on: subject, [one])
                        }
                    }
                }
                group.addTask {
                    for _ in 0..<100 { _ = await Self.fold(worker) }
                }
                group.addTask {
                    // Rows stay behind on the side that lets go; the next move back finds them there.
                    for number in 1...4 {
                        let (source, target) = number % 2 == 1 ? (here, there) : (there, here)
                        try await TestMove(
                            subject.bucket,
                            from: source,
                            to: target,
                            tables: ["counters.total", "counters.delta"],
                            number: number
                        ).run()
                    }
                }
                try await group.waitForAll()
            }

            while await Self.fold(worker) > 0 {}
            let likesNow = try await Self.value(of: subject, .likes, app)
            #expect(likesNow == 120)
        }
    }

    /// One round over both shards, as a worker does it: a bucket that moves is left for the next one.
    private static func fold(_ worker: Database) async -> Int {
        var folded = 0
        for shard in worker.shards {
            // A refusal is a fold that did not happen.
            folded += (try? await CounterFolder(database: worker).fold(on: shard)) ?? 0
        }
        return folded
    }

    private static func value(
        of subject: Subject,
        _ kind: Kind,
        _ database: Database
    ) async throws -> Int {
        let values: [Int] = try await database.rows(
            """
            SELECT value FROM counters.current
            WHERE bucket = \(subject.bucket) AND subject = \(subject) AND kind = \(kind.rawValue)
            """,
            on: subject
        )
        return values.first ?? 0
    }
}
