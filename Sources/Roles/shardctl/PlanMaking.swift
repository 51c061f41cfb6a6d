import Administration
import Coordination
import Etcd
import Journals
import Sharding

/// A plan, and all that it was made from.
struct PlanDraft {
    /// So much a bucket weighs beside its rows, so that empty ones are spread as well.
    static let emptyBucketBytes: Int64 = 8 << 10

    /// What a copy carries in a second on a machine that has other things to do, for the expected time alone.
    static let assumedBytesPerSecond = 20e6

    let map: ShardMap
    let plan: Plan
    let weights: [BucketWeight]
    let rates: BucketRates

    /// Measures the shards and plans; changes nothing.
    init(_ cluster: Cluster, intent: ClusterIntent, output: OutputOptions) async throws {
        map = try await cluster.map()
        rates = try await Self.rates(cluster)
        weights = try Self.measure(map, rates, try cluster.secrets())
        plan = try Planner.plan(
            PlanInput(
                map: map,
                weights: weights,
                drains: intent.drains,
                pins: intent.pins,
                isolated: intent.isolated
            )
        )
    }

    /// Another plan for the same cluster, such as one from a file.
    init(_ plan: Plan, like draft: PlanDraft) {
        map = draft.map
        weights = draft.weights
        rates = draft.rates
        self.plan = plan
    }

    /// How often buckets are used, as the app nodes and workers that run tell it.
    private static func rates(_ cluster: Cluster) async throws -> BucketRates {
        let entries = try await cluster.withEtcd {
            try await $0.snapshot(prefix: BucketLoads.keyPrefix).entries
        }
        return BucketRates(
            entries.compactMap { BucketLoads(text: String(decoding: $0.value, as: UTF8.self)) }
        )
    }

    static func measure(
        _ map: ShardMap,
        _ rates: BucketRates,
        _ secrets: ShardSecrets
    ) throws -> [BucketWeight] {
        var weights = zip(rates.reads, rates.writes).map {
            BucketWeight(bytes: emptyBucketBytes, reads: $0, writes: $1)
        }
        for shard in map.shards where !map.buckets(of: shard.id).isEmpty {
            let sizes = try naming(shard.id) {
                let session = try ShardSetup(shard: shard, secrets: secrets).moverSession()
                return try BucketMeasure(session: session).sizes()
            }
            // Rows that a move has not cleaned up yet weigh nothing: they are on their way out.
            for (bucket, size) in sizes where map[bucket].shard == shard.id {
                weights[Int(bucket.rawValue)].bytes += size.bytes
            }
        }
        return weights
    }

    /// Bytes of each shard's buckets, before and after.
    func loads() -> [(shard: ShardID, before: Int64, after: Int64)] {
        var after = map
        for step in plan.steps { for bucket in step.buckets { after[bucket].shard = step.target } }
        func bytes(_ shard: ShardID, _ map: ShardMap) -> Int64 {
            map.buckets(of: shard).reduce(0) { $0 + weights[Int($1.rawValue)].bytes }
        }
        return map.shards.map { ($0.id, bytes($0.id, map), bytes($0.id, after)) }
    }

    /// With one move at a time for each source and each target.
    var expectedSeconds: Double {
        let time = MoveSchedule.duration(
            of: plan.steps,
            bytesPerSecond: Self.assumedBytesPerSecond
        )
        return time / .seconds(1)
    }

    /// What keeps the shards of the plan from carrying it out, each with what to do about it.
    func objections(_ secrets: ShardSecrets) -> [String] {
        let incoming = Dictionary(
            plan.steps.map { ($0.target, $0.bytes) },
            uniquingKeysWith: +
        )
        let concerned = Set(plan.steps.flatMap { [$0.source, $0.target] })
        var found: [String] = []
        var schemas: [String: [ShardID]] = [:]
        for shard in map.shards where concerned.contains(shard.id) {
            let setup = ShardSetup(shard: shard, secrets: secrets)
            do {
                let facts = try setup.facts()
                found += ShardFitness.objections(
                    to: facts,
                    as: shard.id,
                    of: map.cluster,
                    isNew: false,
                    expectedBytes: incoming[shard.id] ?? 0
                ).map { "\(shard.id): \($0)" }
                guard facts.identity != nil else { continue }
                let digest = try setup.moverSession().value("SELECT control.schema_digest()")
                schemas[digest ?? "?", default: []].append(shard.id)
            } catch {
                found.append("\(shard.id): \(Failure(error).message)")
            }
        }
        if schemas.count > 1 {
            let groups = schemas.values.map { $0.map(\.name).joined(separator: ", ") }.sorted()
            found.append(
                "the schemas differ (\(groups.joined(separator: " | "))): shardctl migrate --migrations Sources"
            )
        }
        return found
    }
}

/// Seconds for people, such as `1 h 05 min`.
func duration(_ seconds: Double) -> String {
    let whole = Int(seconds.rounded(.up))
    if whole < 60 { return "\(whole) s" }
    let minutes = (whole + 59) / 60
    if minutes < 60 { return "\(minutes) min" }
    let rest = minutes % 60
    return "\(minutes / 60) h \(rest < 10 ? "0" : "")\(rest) min"
}
