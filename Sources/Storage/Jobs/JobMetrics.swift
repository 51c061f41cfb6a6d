internal import Metrics
internal import Sharding

/// What a runner tells about its effects.
final class JobMetrics: @unchecked Sendable {
    // @unchecked: touched on the runner's loop only.
    private let registry: MetricsRegistry
    private var ends: [String: Counter] = [:]
    private let runTimes: [String: Histogram]
    private let ages: [String: Histogram]
    private let claimFailures: Counter
    private let settleFailures: Counter
    private var depths: [String: Gauge] = [:]
    private var oldest: [String: Gauge] = [:]
    private var dead: [ShardID: Gauge] = [:]

    /// Kinds that no handler here knows share one label: names in rows must not make metrics.
    private static let otherKind = "other"

    init(registry: MetricsRegistry, kinds: [String]) {
        self.registry = registry
        let kinds = kinds + [Self.otherKind]
        runTimes = Dictionary(
            uniqueKeysWithValues: kinds.map { kind in
                let histogram = registry.histogram(
                    "tessera_effect_run_seconds",
                    help: "How long handlers took.",
                    labels: [("kind", kind)]
                )
                return (kind, histogram)
            }
        )
        ages = Dictionary(
            uniqueKeysWithValues: kinds.map { kind in
                let histogram = registry.histogram(
                    "tessera_effect_age_seconds",
                    help: "Time from the commit of the cause to the end of the effect.",
                    labels: [("kind", kind)]
                )
                return (kind, histogram)
            }
        )
        claimFailures = registry.counter(
            "tessera_effect_claim_failures_total",
            help: "Claims that a shard did not answer or refused."
        )
        settleFailures = registry.counter(
            "tessera_effect_settle_failures_total",
            help: "Outcomes or lease extensions that could not be written at once."
        )
    }

    private func known(_ kind: String) -> String {
        runTimes[kind] == nil ? Self.otherKind : kind
    }

    func ended(_ effect: ClaimedEffect, _ outcome: RetryPolicy.Outcome, nanoseconds: UInt64) {
        let kind = known(effect.kind)
        runTimes[kind]?.record(Double(nanoseconds) / 1e9)
        if outcome == .succeeded {
            let age = Timestamp.now.microseconds - effect.createdAt.microseconds
            ages[kind]?.record(Double(max(age, 0)) / 1e6)
        }
        count(kind, outcome.label)
    }

    private func count(_ kind: String, _ outcome: String) {
        let key = "\(kind) \(outcome)"
        let counter =
            ends[key]
            ?? registry.counter(
                "tessera_effects_total",
                help: "Effects by kind and how an attempt ended.",
                labels: [("kind", kind), ("outcome", outcome)]
            )
        ends[key] = counter
        counter.add(1)
    }

    func claimFailed() { claimFailures.add(1) }
    func settleFailed() { settleFailures.add(1) }

    func measured(_ rows: [QueueDepth], dead count: Int, on shard: ShardID) {
        for kind in runTimes.keys.sorted() {
            let rows = rows.filter { known($0.kind) == kind }
            let labels: MetricsRegistry.Labels = [("kind", kind), ("shard", shard.name)]
            gauge(&depths, "tessera_outbox_depth", "Effects that wait.", labels)
                .set(Double(rows.reduce(0) { $0 + $1.count }))
            gauge(&oldest, "tessera_outbox_oldest_seconds", "Age of the oldest effect.", labels)
                .set(rows.map(\.oldestSeconds).max() ?? 0)
        }
        let gauge =
            dead[shard]
            ?? registry.gauge(
                "tessera_dead_letters",
                help: "Effects that were given up and wait for an operator.",
                labels: [("shard", shard.name)]
            )
        dead[shard] = gauge
        gauge.set(Double(count))
    }

    private func gauge(
        _ cells: inout [String: Gauge],
        _ name: String,
        _ help: String,
        _ labels: MetricsRegistry.Labels
    ) -> Gauge {
        let key = labels.map(\.value).joined(separator: " ")
        let gauge = cells[key] ?? registry.gauge(name, help: help, labels: labels)
        cells[key] = gauge
        return gauge
    }
}

extension RetryPolicy.Outcome {
    /// A word for metrics.
    var label: String {
        switch self {
        case .succeeded: "succeeded"
        case .failed: "failed"
        case .unavailable: "unavailable"
        case .postponed: "postponed"
        case .hopeless: "dead"
        case .unknown: "unknown"
        case .returned: "returned"
        }
    }
}
