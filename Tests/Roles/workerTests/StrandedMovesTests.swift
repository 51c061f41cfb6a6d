import Database
import Logging
import Metrics
import Sharding
import Shards
import TestSupport
import Testing

@testable import worker

/// A worker that ends what a coordinator has left between two owners, on two real shards.
struct StrandedMovesTests {
    private static let bucket = BucketID.all[7]

    /// A clock that the test turns, in milliseconds.
    private final class Clock: @unchecked Sendable {
        // @unchecked: touched on the test's loop only.
        var now: UInt64 = 1_000
    }

    private func run(
        _ body: @escaping @Sendable (TestMove, StrandedMoves, Clock) async throws -> Void
    ) async throws {
        let cluster = try await TestCluster.make(shards: 2)
        let source = cluster.shard(of: Self.bucket)
        let target = cluster.shards.first { $0.id != source.id }!
        let move = TestMove(Self.bucket, from: source, to: target, tables: [])
        try await source.psql(
            "SELECT control.put_shard_record('\(target.id)', '\(target.record.line)')"
        )
        try await cluster.run { _, worker in
            let clock = Clock()
            let stranded = StrandedMoves(
                database: worker,
                metrics: MetricsRegistry(),
                log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
                now: { clock.now }
            )
            try await body(move, stranded, clock)
        }
    }

    private func state(_ shard: TestShard) async throws -> String {
        try await shard.psql(
            "SELECT state || ' ' || epoch FROM control.bucket_owner WHERE bucket = \(Self.bucket)"
        )
    }

    @Test func `a fence that nobody ends is given back, when it has stood for long enough`()
        async throws
    {
        try await run { move, stranded, clock in
            let source = ShardID(move.source.id)!
            try await move.prepare()
            try await move.fence()

            try await stranded.look(at: source)
            clock.now += 2_500
            try await stranded.look(at: source)
            #expect(try await state(move.source) == "fenced 1")
            clock.now += 600
            try await stranded.look(at: source)

            #expect(try await state(move.source) == "own 3")
            #expect(try await state(move.target) == "incoming 2")
        }
    }

    @Test func `a new attempt has all the time of its own`() async throws {
        try await run { move, stranded, clock in
            let source = ShardID(move.source.id)!
            try await move.prepare()
            try await move.fence()
            try await stranded.look(at: source)
            clock.now += 2_900
            try await move.giveUp()
            try await move.source.psql(
                "SELECT control.fence_for_move('m1.2', '{\(Self.bucket)}', '{3}', 's2', 5000)"
            )

            try await stranded.look(at: source)
            clock.now += 2_900
            try await stranded.look(at: source)

            #expect(try await state(move.source) == "fenced 3")
        }
    }

    @Test func `what was released is activated where it goes, and once`() async throws {
        try await run { move, stranded, clock in
            let source = ShardID(move.source.id)!
            try await move.prepare()
            try await move.fence()
            try await move.carry()
            try await move.release()

            try await stranded.look(at: source)
            #expect(try await state(move.target) == "incoming 2")
            for _ in 0..<2 {
                clock.now += 2_100
                try await stranded.look(at: source)
                #expect(try await state(move.target) == "own 2")
                #expect(try await state(move.source) == "released 1")
            }
        }
    }

    @Test func `nothing is activated before the last writes are there`() async throws {
        try await run { move, stranded, clock in
            let source = ShardID(move.source.id)!
            try await move.prepare()
            try await move.fence()
            try await move.release()

            try await stranded.look(at: source)
            clock.now += 2_100
            await #expect(throws: (any Error).self) { try await stranded.look(at: source) }

            #expect(try await state(move.target) == "incoming 2")
        }
    }
}
