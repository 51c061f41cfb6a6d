internal import Sharding

/// Makes plans: a pure function of what is measured and wanted, the same on every machine.
///
/// First what must be is placed (pins, isolation, drains, regions), each where it disturbs least. Then, while
/// a shard is too heavy or too light in bytes, reads or writes, the bucket moves from the heaviest shard
/// which repairs most for its bytes.
package enum Planner {
    /// A region is balanced while every shard is within this of its share; then nothing moves.
    package static let tolerance = 0.05

    /// Otherwise moves go on until every shard is within this, so that a little drift does not bring the next plan.
    package static let aim = 0.03

    package static func plan(_ input: PlanInput) throws(PlanError) -> Plan {
        try check(input)
        var moved: [Relocation] = []
        var worst = (before: 1.0, after: 1.0)
        for region in Set(input.map.shards.map(\.region)).sorted() {
            var balance = RegionBalance(input, region)
            worst.before = max(worst.before, balance.imbalance)
            try balance.placeForced()
            balance.balance()
            worst.after = max(worst.after, balance.imbalance)
            moved.append(contentsOf: balance.relocations)
        }
        return Plan(
            steps: steps(moved, input),
            imbalanceBefore: worst.before,
            imbalanceAfter: worst.after
        )
    }

    /// One bucket that changes its shard.
    struct Relocation: Hashable {
        let bucket: BucketID
        let source: ShardID
        let target: ShardID
        let reason: Plan.Reason
    }

    private static func check(_ input: PlanInput) throws(PlanError) {
        let wanted = input.pins.merging(input.isolated) { _, isolated in isolated }
        for (bucket, shard) in wanted.sorted(by: { $0.key < $1.key }) {
            guard let record = input.map.shard(shard) else {
                throw PlanError("bucket \(bucket) is wanted on \(shard), which is no shard")
            }
            guard record.region == input.map[bucket].region else {
                throw PlanError(
                    "bucket \(bucket) is at home in \(input.map[bucket].region), \(shard) is not"
                )
            }
            guard !input.drains.contains(shard) else {
                throw PlanError("bucket \(bucket) is wanted on \(shard), which is to be empty")
            }
            if let pin = input.pins[bucket], let own = input.isolated[bucket], pin != own {
                throw PlanError("bucket \(bucket) is pinned to \(pin) and isolated on \(own)")
            }
            if input.isolated[bucket] == nil, input.isolated.values.contains(shard) {
                throw PlanError(
                    "bucket \(bucket) is pinned to \(shard), which is for an isolated one"
                )
            }
        }
        for drained in input.drains.sorted() where input.map.shard(drained) == nil {
            throw PlanError("\(drained) is to be empty, but is no shard")
        }
    }

    // MARK: Steps

    /// Groups of one source and target, put in an order in which neighbours have different ones.
    private static func steps(_ moved: [Relocation], _ input: PlanInput) -> [Plan.Step] {
        struct Pair: Hashable { let source: ShardID, target: ShardID, reason: Plan.Reason }
        var groups: [Pair: [BucketID]] = [:]
        for one in moved {
            let pair = Pair(source: one.source, target: one.target, reason: one.reason)
            groups[pair, default: []].append(one.bucket)
        }
        var open: [Plan.Step] = []
        for (pair, buckets) in groups {
            let sorted = buckets.sorted()
            for start in stride(from: 0, to: sorted.count, by: MoveSpec.bucketLimit) {
                let chunk = Array(sorted[start..<min(start + MoveSpec.bucketLimit, sorted.count)])
                open.append(
                    Plan.Step(
                        source: pair.source,
                        target: pair.target,
                        buckets: chunk,
                        bytes: chunk.reduce(0) { $0 + input.weights[Int($1.rawValue)].bytes },
                        reason: pair.reason
                    )
                )
            }
        }
        open.sort { ($0.reason.urgency, $0.buckets[0]) < ($1.reason.urgency, $1.buckets[0]) }
        return spread(open)
    }

    /// Takes, again and again, the first step of the most urgent ones whose shards were used longest ago.
    private static func spread(_ steps: [Plan.Step]) -> [Plan.Step] {
        var open = steps
        var used: [ShardID: Int] = [:]
        var ordered: [Plan.Step] = []
        while let urgency = open.first?.reason.urgency {
            var best = 0
            var age = Int.max
            for (place, step) in open.enumerated() {
                guard step.reason.urgency == urgency else { break }
                let latest = max(used[step.source] ?? 0, used[step.target] ?? 0)
                if latest < age { (best, age) = (place, latest) }
            }
            let step = open.remove(at: best)
            ordered.append(step)
            used[step.source] = ordered.count
            used[step.target] = ordered.count
        }
        return ordered
    }
}

extension Plan.Reason {
    /// What people asked for comes before what only balances.
    fileprivate var urgency: Int { self == .balance ? 1 : 0 }
}
