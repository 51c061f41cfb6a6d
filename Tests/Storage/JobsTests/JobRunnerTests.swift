import Database
import EventLoops
import JSON
import Jobs
import Logging
import Metrics
import Postgres
import Sharding
import Shards
import Synchronization
import TestSupport
import Testing

/// The outbox and its runner, on real shards.
struct JobRunnerTests {
    private let bucket = BucketID(rawValue: 7)!

    @Test func `an effect runs after its write has committed, and is gone`() async throws {
        try await withShards { shards, app, worker in
            let seen = Record()
            let runner = runner(worker, [Recorder(seen)])
            try await app.write(on: bucket, [effect("one").enqueue])
            runner.start()

            try await seen.wait(for: ["one"])
            await runner.drain(deadline: .seconds(5))

            let waiting = try await shards.psqlOnEveryShard("SELECT count(*) FROM jobs.outbox")
            #expect(waiting == ["0"])
        }
    }

    @Test func `an effect of a write that rolled back never runs`() async throws {
        try await withShards { shards, app, worker in
            let failing: SQL = "SELECT 1 / 0"
            await #expect(throws: DatabaseError.self) {
                try await app.write(on: bucket, [effect("never").enqueue, failing])
            }

            let waiting = try await shards.psqlOnEveryShard("SELECT count(*) FROM jobs.outbox")
            #expect(waiting == ["0"])
        }
    }

    @Test func `a failed effect runs again until it succeeds`() async throws {
        try await withShards { shards, app, worker in
            let seen = Record()
            let runner = runner(worker, [Recorder(seen, failures: 3)])
            try await app.write(on: bucket, [effect("again").enqueue])
            runner.start()

            try await seen.wait(for: ["again"])
            await runner.drain(deadline: .seconds(5))

            #expect(seen.attempts == 4)
            let waiting = try await shards.psqlOnEveryShard("SELECT count(*) FROM jobs.outbox")
            #expect(waiting == ["0"])
        }
    }

    @Test func `an effect that never works becomes a dead letter, and can be put back`()
        async throws
    {
        try await withShards { shards, app, worker in
            let seen = Record()
            var settings = JobRunner.Settings()
            settings.policy.attemptLimit = 2
            settings.policy.firstDelay = .milliseconds(1)
            let broken = runner(worker, [Recorder(seen, failures: 2)], settings)
            try await app.write(on: bucket, [effect("poison").enqueue])
            broken.start()
            let store = OutboxStore(database: worker)
            var letters: [DeadLetter] = []
            while letters.isEmpty {
                try await worker.loop.sleep(for: .milliseconds(10))
                letters = try await store.deadLettersOnEveryShard(limit: 10)
            }

            #expect(letters.map(\.kind) == ["test.record"])
            #expect(letters[0].reason.contains("attempt 2"))
            #expect(letters[0].payload.contains("poison"))
            let isBack = try await store.requeue(letters[0].id, in: bucket)
            #expect(isBack)
            try await seen.wait(for: ["poison"])
            await broken.drain(deadline: .seconds(5))
            let dead = try await shards.psqlOnEveryShard("SELECT count(*) FROM jobs.dead")
            #expect(dead == ["0"])
        }
    }

    @Test func `an unknown kind and a newer version stay in the outbox`() async throws {
        try await withShards { shards, app, worker in
            let seen = Record()
            let runner = runner(worker, [Recorder(seen)])
            var newer = effect("newer")
            newer.version = 2
            var stranger = effect("stranger")
            stranger.kind = "test.stranger"
            try await app.write(on: bucket, [newer.enqueue, stranger.enqueue])
            try await app.write(on: bucket, [effect("known").enqueue])
            runner.start()

            try await seen.wait(for: ["known"])
            await runner.drain(deadline: .seconds(5))

            let left = try await shards.psqlOnEveryShard(
                "SELECT kind, attempts, lease_token IS NULL FROM jobs.outbox ORDER BY id"
            )
            #expect(left == ["test.record|0|t", "test.stranger|0|t"])
        }
    }

    @Test func `the effects of a worker that died run again when their leases end`() async throws {
        try await withShards { shards, app, worker in
            let seen = Record()
            try await app.write(on: bucket, [effect("orphan").enqueue])
            try await shards.psql(
                bucket,
                """
                UPDATE jobs.outbox SET attempts = 1, lease_token = 1,
                    leased_until = now() + interval '300 ms',
                    available_at = now() + interval '300 ms'
                """
            )
            let runner = runner(worker, [Recorder(seen)])
            runner.start()

            try await seen.wait(for: ["orphan"])
            await runner.drain(deadline: .seconds(5))

            let waiting = try await shards.psqlOnEveryShard("SELECT count(*) FROM jobs.outbox")
            #expect(waiting == ["0"])
        }
    }

    @Test func `a worker whose lease was taken over cannot complete the row`() async throws {
        try await withShards { shards, app, worker in
            let gate = Record()
            let runner = runner(worker, [Recorder(gate, stolenBy: shards)])
            try await app.write(on: bucket, [effect("stolen").enqueue])
            runner.start()

            try await gate.wait(for: ["stolen"])
            await runner.drain(deadline: .seconds(5))

            let left = try await shards.psqlOnEveryShard("SELECT lease_token FROM jobs.outbox")
            #expect(left == ["42"])
        }
    }

    @Test func `several runners share the work and each effect runs once`() async throws {
        try await withShards { shards, app, worker in
            let seen = Record()
            let runners = (0..<3).map { _ in runner(worker, [Recorder(seen)]) }
            for start in stride(from: 0, to: 600, by: 50) {
                let effects = (start..<start + 50).map { effect("e\($0)").enqueue }
                try await app.write(on: bucket, effects)
            }
            for runner in runners { runner.start() }

            try await seen.wait(for: (0..<600).map { "e\($0)" })
            for runner in runners { await runner.drain(deadline: .seconds(5)) }

            #expect(seen.attempts == 600)
            let waiting = try await shards.psqlOnEveryShard("SELECT count(*) FROM jobs.outbox")
            #expect(waiting == ["0"])
        }
    }

    @Test func `an effect and its children change places in one transaction`() async throws {
        try await withShards { shards, app, worker in
            let seen = Record()
            let runner = runner(worker, [Recorder(seen), Parent(database: worker)])
            var parent = effect("parent")
            parent.kind = "test.parent"
            parent.traceparent = "00-trace"
            try await app.write(on: bucket, [parent.enqueue])
            runner.start()

            try await seen.wait(for: ["left", "right"])
            await runner.drain(deadline: .seconds(5))

            #expect(seen.traces == ["00-trace", "00-trace"])
            let waiting = try await shards.psqlOnEveryShard("SELECT count(*) FROM jobs.outbox")
            #expect(waiting == ["0"])
        }
    }

    @Test func `draining waits for what runs`() async throws {
        try await withShards { shards, app, worker in
            let seen = Record()
            let runner = runner(worker, [Recorder(seen, takes: .milliseconds(300))])
            try await app.write(on: bucket, [effect("slow").enqueue])
            runner.start()
            while seen.attempts == 0 { try await worker.loop.sleep(for: .milliseconds(5)) }

            await runner.drain(deadline: .seconds(5))

            #expect(seen.texts == ["slow"])
            let waiting = try await shards.psqlOnEveryShard("SELECT count(*) FROM jobs.outbox")
            #expect(waiting == ["0"])
        }
    }

    @Test func `leases are extended while a handler works`() async throws {
        try await withShards { shards, app, worker in
            let seen = Record()
            var settings = JobRunner.Settings()
            // Long enough that a crowded machine still extends it in time.
            settings.lease = .seconds(3)
            let runners = (0..<2).map { _ in
                runner(worker, [Recorder(seen, takes: .seconds(7))], settings)
            }
            try await app.write(on: bucket, [effect("long").enqueue])
            for runner in runners { runner.start() }

            try await seen.wait(for: ["long"])
            for runner in runners { await runner.drain(deadline: .seconds(5)) }

            #expect(seen.attempts == 1)
        }
    }

    @Test func `an effect on a quiet shard is seen soon`() async throws {
        try await withShards { shards, app, worker in
            let seen = Record()
            let runner = runner(worker, [Recorder(seen)])
            runner.start()
            try await worker.loop.sleep(for: .milliseconds(500))
            var waits: [Double] = []
            for number in 0..<20 {
                let start = EventLoop.nanoseconds
                try await app.write(on: bucket, [effect("q\(number)").enqueue])
                try await seen.wait(for: ["q\(number)"])
                waits.append(Double(EventLoop.nanoseconds - start) / 1e6)
                try await worker.loop.sleep(for: .milliseconds(60))
            }
            await runner.drain(deadline: .seconds(5))

            // Some tens of milliseconds where the machine has nothing else to do.
            #expect(waits.sorted()[10] < 2_000, "milliseconds: \(waits)")
        }
    }

    // MARK: Parts

    private func withShards(
        _ body: @escaping @Sendable (TestCluster, Database, Database) async throws -> Void
    ) async throws {
        let shards = try await TestCluster.make(shards: 1, modules: ["Jobs"])
        try await shards.run { try await body(shards, $0, $1) }
    }

    private func effect(_ text: String) -> Effect {
        Effect("test.record", owner: bucket, payload: TestPayload(text: text))
    }

    private func runner(
        _ database: Database,
        _ handlers: [any EffectHandler],
        _ settings: JobRunner.Settings = JobRunner.Settings()
    ) -> JobRunner {
        JobRunner(
            loop: database.loop,
            database: database,
            handlers: handlers,
            settings: settings,
            metrics: MetricsRegistry(),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
    }
}

struct TestPayload: JSONEncodable, Sendable {
    var text: String

    func write(to json: inout JSONWriter) {
        json.object { $0.field("text", text) }
    }
}

/// What handlers saw.
final class Record: Sendable {
    private struct State {
        var texts: [String] = []
        var traces: [String] = []
        var attempts = 0
    }

    private let state = Mutex(State())

    var texts: [String] { state.withLock { $0.texts } }
    var traces: [String] { state.withLock { $0.traces } }
    var attempts: Int { state.withLock { $0.attempts } }

    func began() -> Int {
        state.withLock { state in
            state.attempts += 1
            return state.attempts
        }
    }

    func saw(_ text: String, _ trace: String?) {
        state.withLock { state in
            state.texts.append(text)
            if let trace { state.traces.append(trace) }
        }
    }

    /// Waits until all of these were seen.
    func wait(for texts: [String]) async throws {
        let loop = EventLoop.current!
        for _ in 0..<20_000 {
            if Set(texts).isSubset(of: Set(self.texts)) { return }
            try await loop.sleep(for: .milliseconds(1))
        }
        Issue.record("not seen in time: \(Set(texts).subtracting(self.texts).sorted())")
    }
}

struct Recorder: EffectHandler {
    struct Failure: Error {}

    let kind = "test.record"
    private let record: Record
    private let failures: Int
    private let takes: Duration
    private let thief: TestCluster?

    init(
        _ record: Record,
        failures: Int = 0,
        takes: Duration = .zero,
        stolenBy thief: TestCluster? = nil
    ) {
        self.record = record
        self.failures = failures
        self.takes = takes
        self.thief = thief
    }

    func handle(_ effect: ClaimedEffect) async throws {
        let text = try effect.decode { $0["text"]?.string }
        let attempt = record.began()
        if attempt <= failures { throw Failure() }
        if takes > .zero { try await EventLoop.current!.sleep(for: takes) }
        if let thief {
            try await thief.psql(
                effect.owner,
                "UPDATE jobs.outbox SET lease_token = 42, available_at = now() + interval '1 hour'"
            )
        }
        record.saw(text, effect.traceparent)
    }
}

/// Completes itself with two children.
struct Parent: EffectHandler {
    let kind = "test.parent"
    let database: Database

    func handle(_ effect: ClaimedEffect) async throws {
        let children = ["left", "right"].map {
            Effect("test.record", owner: effect.owner, payload: TestPayload(text: $0))
        }
        try await database.write(
            on: effect.owner,
            [effect.completion(thenEnqueue: children)]
        )
    }
}
