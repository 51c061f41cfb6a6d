import Database
import EventLoops
import Jobs
import Logging
import Metrics
import Sharding
import Shards
import TestSupport
import Testing

/// The outbox of a bucket that goes to another shard.
struct MovedOutboxTests {
    private let bucket = BucketID(rawValue: 7)!

    @Test func `effects that run while their bucket moves are settled where it is then`()
        async throws
    {
        try await withMove { move, app, worker in
            let seen = Record()
            let runner = runner(worker, [Recorder(seen, takes: .milliseconds(400))])
            let texts = (0..<20).map { "e\($0)" }
            try await app.write(on: bucket, texts.map { effect($0).enqueue })
            runner.start()
            while seen.attempts < texts.count {
                try await worker.loop.sleep(for: .milliseconds(5))
            }

            try await move.run()
            try await move.clean()
            try await seen.wait(for: texts)
            await runner.drain(deadline: .seconds(10))

            // Their leases moved with them, so that nobody else began them.
            #expect(seen.attempts == texts.count)
            #expect(try await left(move) == ["0", "0"])
        }
    }

    @Test func `effects that wait run on the shard that their bucket went to`() async throws {
        try await withMove { move, app, worker in
            let seen = Record()
            let texts = (0..<5).map { "e\($0)" }
            try await app.write(on: bucket, texts.map { effect($0).enqueue })
            // A worker that died has leased one of them.
            try await move.source.psql(
                """
                UPDATE jobs.outbox SET attempts = 1, lease_token = 1,
                    leased_until = now() + interval '1 s', available_at = now() + interval '1 s'
                WHERE payload ->> 'text' = 'e3'
                """
            )
            try await move.run()
            // The rows stay on the source until they are cleaned, and must not run there.
            let runner = runner(worker, [Recorder(seen)])
            runner.start()

            try await seen.wait(for: texts)
            await runner.drain(deadline: .seconds(10))

            #expect(seen.attempts == texts.count)
            #expect(try await left(move) == ["5", "0"])
        }
    }

    @Test func `writes and their effects go on while a bucket moves to and fro`() async throws {
        try await withMove { move, app, worker in
            let seen = Record()
            let runner = runner(worker, [Recorder(seen)])
            runner.start()
            async let texts = writeUntil(seen, app)
            do {
                for number in 1...4 {
                    let ends =
                        number % 2 == 1 ? (move.source, move.target) : (move.target, move.source)
                    let next = TestMove(
                        bucket,
                        from: ends.0,
                        to: ends.1,
                        tables: ["jobs.outbox", "jobs.dead"],
                        number: number
                    )
                    try await next.run()
                    try await next.clean()
                }
            } catch {
                Issue.record("the bucket did not move: \(error)")
            }
            seen.saw("over", nil)
            let written = try await texts

            try await seen.wait(for: written)
            await runner.drain(deadline: .seconds(10))

            #expect(!written.isEmpty)
            #expect(try await left(move) == ["0", "0"])
        }
    }

    private func writeUntil(_ record: Record, _ app: Database) async throws -> [String] {
        var texts: [String] = []
        while !record.texts.contains("over") {
            let text = "w\(texts.count)"
            try await app.write(on: bucket, [effect(text).enqueue])
            texts.append(text)
        }
        return texts
    }

    // MARK: Parts

    private func withMove(
        _ body:
            @escaping @Sendable (TestMove, _ app: Database, _ worker: Database) async throws ->
            Void
    ) async throws {
        let shards = try await TestCluster.make(shards: 2, modules: ["Jobs"])
        let source = shards.shard(of: bucket)
        let move = TestMove(
            bucket,
            from: source,
            to: shards.shards.first { $0.id != source.id }!,
            tables: ["jobs.outbox", "jobs.dead"]
        )
        try await shards.run { try await body(move, $0, $1) }
    }

    /// Rows of the outbox on the source and on the target.
    private func left(_ move: TestMove) async throws -> [String] {
        let count = "SELECT count(*) FROM jobs.outbox"
        return [try await move.source.psql(count), try await move.target.psql(count)]
    }

    private func effect(_ text: String) -> Effect {
        Effect("test.record", owner: bucket, payload: TestPayload(text: text))
    }

    private func runner(_ database: Database, _ handlers: [any EffectHandler]) -> JobRunner {
        JobRunner(
            loop: database.loop,
            database: database,
            handlers: handlers,
            metrics: MetricsRegistry(),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
    }
}
