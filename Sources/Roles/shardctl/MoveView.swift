import Administration
import Coordination
import JSON
import Journals
import Sharding

/// One move as people and programs see it.
struct MoveView {
    let move: BucketMove
    let progress: MoveProgress?

    /// How far it is in all, 0 to 1: the copy is most of it.
    var share: Double {
        switch move.step {
        case .planned, .prechecked, .prepared: 0
        case .copying: copied * 0.8
        case .catchingUp: 0.8
        case .verifying: 0.85
        case .fencing, .fenced, .drained: 0.9
        case .released, .activated: 0.95
        case .published, .retired: 0.98
        case .reverseSync, .cleaned, .undone: 1
        }
    }

    private var total: Int64 { max(progress?.totalBytes ?? 0, move.bytes) }

    private var copied: Double {
        guard total > 0, let bytes = progress?.bytes else { return 0 }
        return min(1, Double(bytes) / Double(total))
    }

    /// Seconds until the copy is done, by its present speed; nil where nobody can say.
    var copySecondsLeft: Double? {
        guard move.step == .copying, let progress, progress.bytesPerSecond > 0 else { return nil }
        return Double(max(0, total - progress.bytes)) / Double(progress.bytesPerSecond)
    }

    var cells: [String] {
        let rate = progress?.bytesPerSecond ?? 0
        return [
            "\(move.spec.id)", "\(move.spec.source)", "\(move.spec.target)",
            "\(move.spec.buckets.count)", bar(share), move.step.rawValue,
            rate > 0 ? "\(megabytes(rate))/s" : "-",
            progress?.lagBytes.map(megabytes) ?? "-",
            copySecondsLeft.map(duration) ?? "-",
            move.undoing ?? move.trouble ?? progress?.work ?? "",
        ]
    }

    static let header = [
        "MOVE", "FROM", "TO", "BUCKETS", "PROGRESS", "STEP", "RATE", "LAG", "ETA", "NOW",
    ]

    func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("id", move.spec.id.description)
            if case .rollback(let original) = move.spec.kind {
                json.field("rollback_of", original.description)
            }
            json.field("source", move.spec.source.name)
            json.field("target", move.spec.target.name)
            json.field("buckets", move.spec.buckets.map(\.rawValue))
            json.field("step", move.step.rawValue)
            json.field("over", move.step.isFinal)
            json.field("share", share)
            json.field("attempt", move.attempt)
            json.field("rows", max(move.rows, progress?.rows ?? 0))
            json.field("bytes", max(move.bytes, progress?.bytes ?? 0))
            json.field("total_bytes", total)
            json.field("bytes_per_second", progress?.bytesPerSecond ?? 0)
            json.field("lag_bytes", progress?.lagBytes)
            json.field("pause_milliseconds", move.pauseMilliseconds ?? progress?.pauseMilliseconds)
            json.field("can_roll_back", move.canRollBack)
            json.field("digest", move.digest)
            json.field("undoing", move.undoing)
            json.field("trouble", move.trouble)
        }
    }
}

/// Such as `[######----]  60 %`.
func bar(_ share: Double) -> String {
    let width = 16
    let full = Int((min(max(share, 0), 1) * Double(width)).rounded(.down))
    let percent = Int((min(max(share, 0), 1) * 100).rounded(.down))
    let padding = String(repeating: " ", count: 3 - min(3, "\(percent)".count))
    return "[" + String(repeating: "#", count: full) + String(repeating: "-", count: width - full)
        + "] \(padding)\(percent) %"
}

extension ControlState {
    func view(_ move: BucketMove) -> MoveView {
        MoveView(move: move, progress: progress[move.spec.id])
    }

    /// What people want to see: what runs, what waits, and who does it.
    var text: String {
        var lines = [leaderLine]
        let running = active
        if !running.isEmpty {
            lines.append(table(MoveView.header, running.map { view($0).cells }))
        }
        if !waiting.isEmpty {
            let bytes = waiting.reduce(0) { $0 + $1.bytes }
            lines.append("\(waiting.count) moves wait, \(megabytes(bytes))")
        }
        return lines.joined(separator: "\n")
    }

    private var leaderLine: String {
        var parts = [leader.map { "coordinator \($0.name) leads" } ?? "no coordinator leads"]
        if intent.paused { parts.append("paused") }
        if !intent.drains.isEmpty {
            parts.append(
                "to be empty: \(intent.drains.sorted().map(\.name).joined(separator: ", "))"
            )
        }
        if !intent.pins.isEmpty { parts.append("\(intent.pins.count) buckets pinned") }
        if !intent.isolated.isEmpty { parts.append("\(intent.isolated.count) isolated") }
        return parts.joined(separator: "; ")
    }

    func write(to json: inout JSONWriter) {
        json.field("leader", leader?.name)
        json.field("paused", intent.paused)
        json.field("pending", pendingCount)
        json.field("drains", intent.drains.sorted().map(\.name))
        json.key("pins")
        json.array { json in
            for (bucket, shard) in intent.pins.sorted(by: { $0.key < $1.key }) {
                json.object { json in
                    json.field("bucket", Int(bucket.rawValue))
                    json.field("shard", shard.name)
                }
            }
        }
        json.key("moves")
        json.array { json in
            for move in moves { view(move).write(to: &json) }
        }
        json.key("waiting")
        json.array { json in
            for move in waiting { json.object { PlanRecord.write(move, to: &$0) } }
        }
    }
}
