import Counters
import Database
import EventLoops
import Logging
import Metrics
import Sharding

/// Recounts all counts from what they count, for ever and slowly; reports and repairs those that are wrong.
///
/// A count that drifts is a flaw of ours and nothing that users do: each is a line of the log, with its truth.
final class Recounts: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    /// How long a bucket whose shard refused is left alone.
    private static let refusalPause = Duration.seconds(1)

    private let database: Database
    private let reconciler: Reconciler
    private let percent: Int
    private let checked: Counter
    private let rounds: Counter
    private let failures: Counter
    private var drifted: [String: Counter] = [:]
    private let metrics: MetricsRegistry
    private let log: Logger
    private var walk: ReconcileWalk
    private var kinds: [CountedKind] = []
    private var isStopped = false

    /// Steps take `percent` of this loop's time; none are taken where it is 0.
    init(
        database: Database,
        share: (index: Int, of: Int),
        percent: Int,
        metrics: MetricsRegistry,
        log: Logger
    ) {
        self.database = database
        self.percent = percent
        self.metrics = metrics
        self.log = log
        reconciler = Reconciler(database: database)
        // From a place of its own, so that several workers do not walk in step.
        walk = ReconcileWalk(
            first: share.index,
            stride: share.of,
            startingAt: Int.random(in: 0..<BucketID.count)
        )
        checked = metrics.counter(
            "tessera_counts_checked_total",
            help: "Counts that were compared with what they count."
        )
        rounds = metrics.counter(
            "tessera_recount_rounds_total",
            help: "How often a loop of a worker has recounted all of its buckets."
        )
        failures = metrics.counter(
            "tessera_recount_failures_total",
            help: "Steps of recounting that a shard refused."
        )
    }

    func start() {
        guard percent > 0 else { return }
        database.loop.spawn { await self.run() }
    }

    func stop() { isStopped = true }

    private func run() async {
        while !isStopped {
            let began = EventLoop.nanoseconds
            var pause: Duration
            do {
                try await step()
                let took = Duration.nanoseconds(Int64(EventLoop.nanoseconds - began))
                pause = ReconcileWalk.pause(after: took, percent: percent)
            } catch {
                failures.add()
                log.debug(
                    "recount put off",
                    metadata: ["bucket": "\(walk.bucket)", "error": "\(error)"]
                )
                skipBucket()
                pause = Self.refusalPause
            }
            // Only cancellation ends a sleep early, and nobody cancels this task.
            try? await database.loop.sleep(for: pause)
        }
    }

    private func step() async throws {
        let bucket = BucketID.all[walk.bucket]
        // Again in each round: a new service may count new things.
        if kinds.isEmpty { kinds = try await reconciler.kinds(on: bucket) }
        guard walk.kind < kinds.count else { return skipBucket() }
        let found = try await reconciler.compare(kinds[walk.kind], in: bucket, after: walk.after)
        checked.add(found.checked)
        for drift in found.drifts {
            guard let repaired = try await reconciler.repair(drift) else { continue }
            report(repaired)
        }
        let before = walk.rounds
        walk.advance(last: found.last, kinds: kinds.count)
        if walk.rounds > before { finishRound() }
    }

    private func skipBucket() {
        let before = walk.rounds
        walk.skipBucket()
        if walk.rounds > before { finishRound() }
    }

    private func finishRound() {
        rounds.add()
        kinds = []
    }

    private func report(_ drift: CountDrift) {
        counter(of: drift.kind).add()
        log.warning(
            "a count was wrong and is repaired",
            metadata: [
                "kind": "\(drift.kind.name)", "subject": "\(drift.subject)",
                "bucket": "\(drift.bucket)", "counted": "\(drift.counted)",
                "truth": "\(drift.truth)",
            ]
        )
    }

    private func counter(of kind: CountedKind) -> Counter {
        if let known = drifted[kind.name] { return known }
        let counter = metrics.counter(
            "tessera_counts_drifted_total",
            help: "Counts that were wrong, and were repaired.",
            labels: [("kind", kind.name)]
        )
        drifted[kind.name] = counter
        return counter
    }
}
