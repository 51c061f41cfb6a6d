import Coordination
import Sharding
import Testing

/// Invariant 10: a plan is a pure function of what is measured and wanted.
struct PlannerTests {
    @Test(arguments: [1, 2, 3, 4, 7, 15, 16, 31, 63])
    func `adding a shard to N moves at most 1,05 of its share and leaves all within 5 percent`(
        count: Int
    ) throws {
        var map = try Placement.firstMap(shards: shards(count))
        map.put(shard(count + 1))
        let input = PlanInput(map: map)

        let plan = try Planner.plan(input)

        let bound = 1.05 * Double(BucketID.count) / Double(count + 1)
        #expect(Double(plan.bucketCount) <= bound)
        #expect(plan.imbalanceAfter <= 1.05)
        #expect(plan.steps.allSatisfy { $0.target == shard(count + 1).id })
        let after = try carriedOut(plan, in: map)
        let held = after.buckets(of: shard(count + 1).id).count
        #expect(Double(held) >= 0.95 * Double(BucketID.count) / Double(count + 1))
    }
}

/// The map after all steps, each of which must move buckets from where they are.
func carriedOut(_ plan: Plan, in map: ShardMap) throws -> ShardMap {
    var map = map
    for step in plan.steps {
        try #require(step.buckets.count <= MoveSpec.bucketLimit)
        for bucket in step.buckets {
            try #require(map[bucket].shard == step.source)
            map[bucket].shard = step.target
        }
    }
    return map
}

func shard(_ number: Int, weight: Int = 1, region: Region = .local) -> ShardRecord {
    ShardRecord(
        id: ShardID("s\(number)")!,
        members: [.init(host: "127.0.0.1", port: 15_200 + number)],
        region: region,
        weight: weight
    )
}

func shards(_ count: Int) -> [ShardRecord] { (1...count).map { shard($0) } }
