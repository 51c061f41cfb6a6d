import Coordination
import Metrics

/// What the moves show on /metrics.
struct MoveInstruments: Sendable {
    let leads: Gauge
    let active: Gauge
    private let cleaned: Counter
    private let undone: Counter
    private let bytes: Counter

    init(_ registry: MetricsRegistry) {
        leads = registry.gauge(
            "tessera_coordinator_leads",
            help: "1 in the coordinator that moves buckets, 0 in a stand-by."
        )
        active = registry.gauge(
            "tessera_moves_active",
            help: "Moves that are under way, those in their retention among them."
        )
        let help = "Moves that are over, by how they ended."
        cleaned = registry.counter(
            "tessera_moves_ended_total",
            help: help,
            labels: [("end", "cleaned")]
        )
        undone = registry.counter(
            "tessera_moves_ended_total",
            help: help,
            labels: [("end", "undone")]
        )
        bytes = registry.counter(
            "tessera_moved_bytes_total",
            help: "Bytes of rows that moves which are over have copied."
        )
    }

    func ended(_ move: BucketMove) {
        if move.step == .cleaned { cleaned.add(1) } else { undone.add(1) }
        bytes.add(Int(move.bytes))
    }
}
