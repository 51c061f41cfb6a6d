internal import Sharding

/// How many moves may run at the same time.
package struct MoveLimits: Hashable, Sendable {
    package var perSource = 1
    package var perTarget = 1
    package var total = 8

    package init(perSource: Int = 1, perTarget: Int = 1, total: Int = 8) {
        precondition(perSource > 0 && perTarget > 0 && total > 0, "limits are positive")
        self.perSource = perSource
        self.perTarget = perTarget
        self.total = total
    }
}

/// Decides which steps of a plan may start beside the moves that are under way.
package struct MoveSchedule: Sendable {
    private let limits: MoveLimits
    private var sources: [ShardID: Int] = [:]
    private var targets: [ShardID: Int] = [:]
    private var busy: Set<BucketID> = []
    private var running = 0

    /// `moves` are all that the journal holds. One that waits out its retention loads nobody, but no other
    /// move may take its buckets; ``MoveEvent/retireAsked`` ends that. One of which only old rows are left to be
    /// deleted keeps no other from starting between its shards: it waits for the nodes more than it works.
    package init(moves: [BucketMove], limits: MoveLimits = MoveLimits()) {
        self.limits = limits
        for move in moves where !move.step.isFinal {
            busy.formUnion(move.spec.buckets)
            switch move.step {
            case .reverseSync: break
            case .retired: running += 1
            default: take(move.spec.source, move.spec.target)
            }
        }
    }

    private mutating func take(_ source: ShardID, _ target: ShardID) {
        running += 1
        sources[source, default: 0] += 1
        targets[target, default: 0] += 1
    }

    /// Moves whose way back must be closed, since a shard keeps only the newest few open: each holds a replication slot
    /// and a worker, and with them the log that has not been read.
    package static func surplus(among moves: [BucketMove], perShard limit: Int) -> [MoveID] {
        var kept: [ShardID: Int] = [:]
        var surplus: [MoveID] = []
        for move in moves.sorted(by: { $0.spec.id > $1.spec.id })
        where move.step == .reverseSync && move.handedTo == nil {
            let ends = [move.spec.source, move.spec.target]
            if ends.contains(where: { kept[$0, default: 0] >= limit }) {
                surplus.append(move.spec.id)
            } else {
                for end in ends { kept[end, default: 0] += 1 }
            }
        }
        return surplus
    }

    /// The steps that start now, in their order; they count as running from here on.
    package mutating func start(_ steps: some Sequence<Plan.Step>) -> [Plan.Step] {
        var started: [Plan.Step] = []
        for step in steps {
            guard running < limits.total else { break }
            guard sources[step.source, default: 0] < limits.perSource,
                targets[step.target, default: 0] < limits.perTarget,
                busy.isDisjoint(with: step.buckets)
            else { continue }
            take(step.source, step.target)
            busy.formUnion(step.buckets)
            started.append(step)
        }
        return started
    }

    private mutating func finish(_ step: Plan.Step) {
        running -= 1
        sources[step.source]! -= 1
        targets[step.target]! -= 1
        busy.subtract(step.buckets)
    }

    /// How long the steps take when each copies at that rate and needs that much besides.
    package static func duration(
        of steps: [Plan.Step],
        limits: MoveLimits = MoveLimits(),
        bytesPerSecond: Double,
        overhead: Duration = .seconds(5)
    ) -> Duration {
        var schedule = MoveSchedule(moves: [], limits: limits)
        var waiting = steps
        var running: [(end: Double, step: Plan.Step)] = []
        var now = 0.0
        let fixed = overhead / .seconds(1)
        while !waiting.isEmpty || !running.isEmpty {
            let started = schedule.start(waiting)
            let chosen = Set(started)
            waiting.removeAll { chosen.contains($0) }
            for step in started {
                running.append((now + fixed + Double(step.bytes) / max(bytesPerSecond, 1), step))
            }
            guard let next = running.indices.min(by: { running[$0].end < running[$1].end })
            else { break }
            let ended = running.remove(at: next)
            now = ended.end
            schedule.finish(ended.step)
        }
        return .seconds(now)
    }
}
