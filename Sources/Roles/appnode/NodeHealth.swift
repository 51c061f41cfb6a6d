import Database
import EventLoops
import Logging
import Metrics
import Sharding
import Synchronization

/// Whether this node wants requests: it is not draining, and shards answer it.
///
/// One shard that is down does not take the node out: the others' users are served.
final class NodeHealth: Sendable {
    private let draining = Atomic<Bool>(false)
    private let shardsUp = Atomic<Int>(0)

    var isDraining: Bool { draining.load(ordering: .relaxed) }

    var isReady: Bool { !isDraining && shardsUp.load(ordering: .relaxed) > 0 }

    func startDraining() { draining.store(true, ordering: .relaxed) }

    func note(shardsUp count: Int) { shardsUp.store(count, ordering: .relaxed) }
}

/// Asks every shard each second, for ``NodeHealth``, the metrics and the log; lives on one loop.
final class ShardWatch: @unchecked Sendable {
    // @unchecked: touched on its loop only.
    private static let interval = Duration.seconds(1)

    private let checks: ShardChecks
    private let health: NodeHealth
    private let metrics: MetricsRegistry
    private let log: Logger
    private var gauges: [ShardID: Gauge] = [:]
    private var isUp: [ShardID: Bool] = [:]
    private var isStopped = false
    private var unchecked: Set<ShardID>

    init(
        checks: ShardChecks,
        health: NodeHealth,
        metrics: MetricsRegistry,
        log: Logger,
        unchecked: [ShardID]
    ) {
        self.checks = checks
        self.health = health
        self.metrics = metrics
        self.log = log
        self.unchecked = Set(unchecked)
    }

    /// Looks once, so that a node whose shards answer is ready as soon as it listens, and goes on.
    func start() async {
        await look()
        let loop = checks.database.loop
        loop.spawn {
            while !self.isStopped {
                // Ends early by cancellation only, which nobody does to it.
                try? await loop.sleep(for: Self.interval)
                if !self.isStopped { await self.look() }
            }
        }
    }

    func stop() { isStopped = true }

    private func look() async {
        let answers = await checks.answering()
        for (shard, up) in answers {
            note(shard, up)
            if up, unchecked.contains(shard) { await checkLate(shard) }
        }
        health.note(shardsUp: answers.count { $0.isUp && !unchecked.contains($0.shard) })
    }

    private func note(_ shard: ShardID, _ up: Bool) {
        let gauge =
            gauges[shard]
            ?? metrics.gauge(
                "shard_up",
                help: "Whether a shard answers this process.",
                labels: [("shard", shard.name)]
            )
        gauges[shard] = gauge
        gauge.set(up ? 1 : 0)
        if isUp[shard] != up {
            let level: Logger.Level = up ? .notice : .error
            log.log(
                level: level,
                up ? "shard answers" : "shard does not answer",
                metadata: ["shard": "\(shard)"]
            )
        }
        isUp[shard] = up
    }

    private func checkLate(_ shard: ShardID) async {
        do {
            let silent = try await checks.checkSchemas()
            unchecked = Set(silent)
        } catch {
            log.critical("\(error)", metadata: ["shard": "\(shard)"])
        }
    }
}
