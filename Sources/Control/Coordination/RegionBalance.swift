internal import Sharding

/// The buckets and shards of one region while a plan is made.
///
/// Weights are shares of the region's total and loads are sums of them, one each for bytes, reads and writes. A shard's
/// *fill* is its load over its share: 1 is right.
struct RegionBalance {
    private typealias Triple = SIMD4<Double>

    private let input: PlanInput
    private let region: Region
    private let shards: [ShardRecord]
    /// Share of each shard; 0 for those that balance has nothing to do with.
    private var shares: [Double]
    private let weights: [Triple]
    /// Which of the resources count: those that are used at all.
    private let counts: Triple
    private var home: [Int]
    private var reasons: [Plan.Reason?]
    private var isMovable: [Bool]
    private var loads: [Triple]
    private var held: [[Int]]
    private let original: [Int]
    private let members: [Int]

    init(_ input: PlanInput, _ region: Region) {
        self.input = input
        self.region = region
        let shards = input.map.shards
        self.shards = shards
        let members = input.map.entries.indices.filter { input.map.entries[$0].region == region }
        self.members = members

        let lonely = Set(input.isolated.values)
        var capacities = shards.map { shard -> Double in
            guard shard.region == region, !input.drains.contains(shard.id),
                !lonely.contains(shard.id)
            else { return 0 }
            return Double(shard.weight)
        }
        let all = capacities.reduce(0, +)
        if all > 0 { for place in capacities.indices { capacities[place] /= all } }
        shares = capacities

        // What is isolated is no part of what is shared out.
        let shared = members.filter { input.isolated[BucketID.all[$0]] == nil }
        var total = Triple()
        for bucket in shared { total += Self.raw(input.weights[bucket]) }
        let isUsed = total .> 0
        counts = Triple().replacing(with: 1, where: isUsed)
        let divisor = Triple(repeating: 1).replacing(with: total, where: isUsed)
        weights = input.weights.map { Self.raw($0) / divisor }

        let places = Dictionary(uniqueKeysWithValues: shards.enumerated().map { ($1.id, $0) })
        home = input.map.entries.map { places[$0.shard]! }
        original = home
        reasons = Array(repeating: nil, count: home.count)
        isMovable = BucketID.all.map { input.pins[$0] == nil && input.isolated[$0] == nil }
        loads = Array(repeating: Triple(), count: shards.count)
        held = Array(repeating: [], count: shards.count)
        for bucket in members {
            loads[home[bucket]] += weights[bucket]
            held[home[bucket]].append(bucket)
        }
    }

    private static func raw(_ weight: BucketWeight) -> Triple {
        Triple(Double(max(weight.bytes, 0)), max(weight.reads, 0), max(weight.writes, 0), 0)
    }

    var relocations: [Planner.Relocation] {
        members.filter { home[$0] != original[$0] }.map { bucket in
            Planner.Relocation(
                bucket: BucketID.all[bucket],
                source: shards[original[bucket]].id,
                target: shards[home[bucket]].id,
                reason: reasons[bucket] ?? .balance
            )
        }
    }

    /// The largest fill of any resource on any shard that takes part; 1 where there is none.
    var imbalance: Double {
        shards.indices.filter { shares[$0] > 0 }.map { heaviest(loads[$0], $0) }.max() ?? 1
    }

    private func heaviest(_ load: Triple, _ shard: Int) -> Double {
        (load * counts / shares[shard]).max()
    }

    // MARK: What must be

    mutating func placeForced() throws(PlanError) {
        for (bucket, shard) in input.isolated.merging(input.pins, uniquingKeysWith: { a, _ in a })
            .sorted(by: { $0.key < $1.key })
        {
            let number = Int(bucket.rawValue)
            guard input.map.entries[number].region == region else { continue }
            let place = shards.firstIndex { $0.id == shard }!
            let reason: Plan.Reason = input.isolated[bucket] == nil ? .pin : .isolate
            move(number, to: place, reason)
        }
        // The heaviest first, while there is most choice for them.
        let homeless = members.filter { isMovable[$0] && shares[home[$0]] == 0 }.sorted {
            let a = weights[$0].sum(), b = weights[$1].sum()
            return a == b ? $0 < $1 : a > b
        }
        for bucket in homeless {
            let record = shards[home[bucket]]
            guard let target = bestPlace(for: bucket) else {
                throw PlanError(
                    "no shard of region \(region) takes bucket \(bucket)"
                )
            }
            let reason: Plan.Reason =
                if record.region != region {
                    .region
                } else if input.isolated.values.contains(record.id) {
                    .isolate
                } else {
                    .drain
                }
            move(bucket, to: target, reason)
        }
    }

    /// The shard that is least full with it.
    private func bestPlace(for bucket: Int) -> Int? {
        var best: (place: Int, fill: Double)?
        for place in shards.indices where shares[place] > 0 {
            let fill = heaviest(loads[place] + weights[bucket], place)
            if fill < best?.fill ?? .infinity { best = (place, fill) }
        }
        return best?.place
    }

    private mutating func move(_ bucket: Int, to target: Int, _ reason: Plan.Reason) {
        let source = home[bucket]
        guard source != target else { return }
        loads[source] -= weights[bucket]
        loads[target] += weights[bucket]
        held[source].removeAll { $0 == bucket }
        held[target].append(bucket)
        home[bucket] = target
        if reason != .balance || reasons[bucket] == nil { reasons[bucket] = reason }
    }

    // MARK: Balance

    mutating func balance() {
        let active = shards.indices.filter { shares[$0] > 0 }
        guard active.count > 1 else { return }
        let isBalanced = active.allSatisfy { place in
            let fill = loads[place] / shares[place]
            return (0..<3).allSatisfy {
                abs(fill[$0] * counts[$0] - counts[$0]) <= Planner.tolerance
            }
        }
        guard !isBalanced else { return }
        // Shards from which nothing could be moved; looked at again before the end, since others have changed.
        var stuck: Set<Int> = []
        // No bucket is worth more than a few moves; a plan that needs more has no end.
        for _ in 0..<(4 * members.count) {
            if improve(active, &stuck) { continue }
            guard !stuck.isEmpty else { return }
            stuck = []
            guard improve(active, &stuck) else { return }
        }
    }

    /// One move from the fullest shard that has one which repairs something.
    private mutating func improve(_ active: [Int], _ stuck: inout Set<Int>) -> Bool {
        let fills = shards.indices.map { shares[$0] > 0 ? heaviest(loads[$0], $0) : 0 }
        let donors = active.filter { !stuck.contains($0) }
            .sorted { fills[$0] == fills[$1] ? $0 < $1 : fills[$0] > fills[$1] }
        for donor in donors {
            if let best = bestMove(from: donor, among: active) {
                move(best.bucket, to: best.target, .balance)
                return true
            }
            if fills[donor] > 1 + Planner.tolerance, let best = bestSwap(with: donor, among: active)
            {
                let target = home[best.theirs]
                move(best.ours, to: target, .balance)
                move(best.theirs, to: donor, .balance)
                return true
            }
            stuck.insert(donor)
        }
        return false
    }

    /// Two buckets that change places, where no single one can go anywhere: a shard may have too many reads and too
    /// few writes.
    private func bestSwap(with donor: Int, among active: [Int]) -> (ours: Int, theirs: Int)? {
        let here = wrong(loads[donor], donor)
        var best: (ours: Int, theirs: Int, gain: Double)?
        for ours in held[donor] where isMovable[ours] {
            let without: Triple = loads[donor] - weights[ours]
            for target in active where target != donor {
                let there = wrong(loads[target], target)
                let with: Triple = loads[target] + weights[ours]
                for theirs in held[target] where isMovable[theirs] {
                    let left: Triple = without + weights[theirs]
                    let saved = here - wrong(left, donor)
                    guard saved + there > best?.gain ?? 1e-9 else { continue }
                    let right: Triple = with - weights[theirs]
                    let gain = saved + there - wrong(right, target)
                    if gain > best?.gain ?? 1e-9 { best = (ours, theirs, gain) }
                }
            }
        }
        return best.map { ($0.ours, $0.theirs) }
    }

    private func bestMove(from donor: Int, among active: [Int]) -> (bucket: Int, target: Int)? {
        let before = active.map { wrong(loads[$0], $0) }
        let here = wrong(loads[donor], donor)
        var best: (bucket: Int, target: Int, worth: Double)?
        for bucket in held[donor] where isMovable[bucket] {
            let left = loads[donor] - weights[bucket]
            let saved = here - wrong(left, donor)
            let bound = max(1 + Planner.tolerance, heaviest(left, donor))
            // By all that it weighs, so that small buckets with many writes are not taken for free.
            let cost = (weights[bucket] * counts).sum() * Double(members.count) + 0.01
            for (place, target) in active.enumerated() where target != donor {
                // What it saves at most; most pairs end here.
                guard saved + before[place] > 1e-9 else { continue }
                let load = loads[target] + weights[bucket]
                let gain = saved + before[place] - wrong(load, target)
                guard gain > 1e-9, gain / cost > best?.worth ?? 0,
                    heaviest(load, target) <= bound + 1e-9
                else { continue }
                best = (bucket, target, gain / cost)
            }
        }
        return best.map { ($0.bucket, $0.target) }
    }

    /// How far a shard is outside the band, squared, over all resources.
    private func wrong(_ load: Triple, _ shard: Int) -> Double {
        let fill: Triple = load / shares[shard]
        let upper = Triple(repeating: 1 + Planner.aim)
        let lower = Triple(repeating: 1 - Planner.aim)
        let over: Triple = pointwiseMax(fill - upper, Triple())
        let under: Triple = pointwiseMax(lower - fill, Triple())
        let squares: Triple = over * over + under * under
        return (squares * counts).sum()
    }
}
