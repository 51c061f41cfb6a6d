import Coordination
import JSON
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

        let plan = try Planner.plan(PlanInput(map: map))

        let bound = 1.05 * Double(BucketID.count) / Double(count + 1)
        #expect(Double(plan.bucketCount) <= bound)
        #expect(plan.imbalanceAfter <= 1.05)
        #expect(plan.steps.allSatisfy { $0.target == shard(count + 1).id })
        let held = try carriedOut(plan, in: map).buckets(of: shard(count + 1).id).count
        #expect(Double(held) >= 0.95 * Double(BucketID.count) / Double(count + 1))
    }

    @Test func `the same input gives the same plan, and what is balanced stays`() throws {
        var map = try Placement.firstMap(shards: shards(4))
        #expect(try Planner.plan(PlanInput(map: map)).steps.isEmpty)
        map.put(shard(5))
        let input = PlanInput(map: map, weights: skewedWeights())

        let plan = try Planner.plan(input)

        #expect(plan == (try Planner.plan(input)))
        let after = PlanInput(map: try carriedOut(plan, in: map), weights: input.weights)
        #expect(try Planner.plan(after).steps.isEmpty)
        #expect(plan.fingerprint == (try Planner.plan(input)).fingerprint)
    }

    @Test func `bytes, reads and writes all come within 5 percent, however uneven the buckets`()
        throws
    {
        var map = try Placement.firstMap(shards: shards(7))
        map.put(shard(8))
        let input = PlanInput(map: map, weights: skewedWeights())

        let plan = try Planner.plan(input)

        #expect(plan.imbalanceBefore > 1.1)
        #expect(plan.imbalanceAfter <= 1.05)
        let light = plan.bytes
        let total = input.weights.reduce(0) { $0 + $1.bytes }
        #expect(Double(light) <= 0.5 * Double(total))
    }

    @Test func `a drained shard ends empty and the others within 5 percent`() throws {
        let map = try Placement.firstMap(shards: shards(5))
        let input = PlanInput(map: map, drains: [shard(3).id])

        let plan = try Planner.plan(input)

        let after = try carriedOut(plan, in: map)
        #expect(after.buckets(of: shard(3).id).isEmpty)
        #expect(plan.imbalanceAfter <= 1.05)
        #expect(plan.bucketCount == map.buckets(of: shard(3).id).count)
        #expect(plan.steps.allSatisfy { $0.reason == .drain })
    }

    @Test func `weights that differ are shares that differ`() throws {
        var map = try Placement.firstMap(shards: shards(4))
        map.put(shard(1, weight: 3))

        let plan = try Planner.plan(PlanInput(map: map))

        let held = try carriedOut(plan, in: map).buckets(of: shard(1).id).count
        #expect((486...539).contains(held))
    }

    @Test func `a pinned bucket goes where it is wanted and stays there`() throws {
        let map = try Placement.firstMap(shards: shards(3))
        let bucket = try #require(map.buckets(of: shard(1).id).first)
        let input = PlanInput(map: map, pins: [bucket: shard(2).id])

        let plan = try Planner.plan(input)

        #expect(plan.steps.map(\.buckets) == [[bucket]])
        #expect(plan.steps.map(\.reason) == [.pin])
        var drained = PlanInput(map: try carriedOut(plan, in: map), pins: input.pins)
        drained.drains = [shard(2).id]
        #expect(throws: PlanError.self) { try Planner.plan(drained) }
    }

    @Test func `an isolated bucket has its shard for itself`() throws {
        let map = try Placement.firstMap(shards: shards(4))
        let bucket = try #require(map.buckets(of: shard(1).id).first)
        let input = PlanInput(map: map, isolated: [bucket: shard(4).id])

        let plan = try Planner.plan(input)

        let after = try carriedOut(plan, in: map)
        #expect(after.buckets(of: shard(4).id) == [bucket])
        #expect(plan.imbalanceAfter <= 1.05)
    }

    @Test func `buckets stay in their region, and come home to it`() throws {
        let north = try #require(Region("north"))
        var map = try Placement.firstMap(shards: [shard(1), shard(2, region: north)])
        map.put(shard(3, region: north))
        var stray = map
        let bucket = try #require(map.buckets(of: shard(2).id).first)
        stray[bucket].shard = shard(1).id

        let plan = try Planner.plan(PlanInput(map: stray))

        let after = try carriedOut(plan, in: stray)
        for entry in after.entries {
            #expect(after.shard(entry.shard)?.region == entry.region)
        }
        #expect(plan.steps.contains { $0.buckets == [bucket] && $0.reason == .region })
    }

    @Test func `what cannot be is refused by name`() throws {
        let map = try Placement.firstMap(shards: shards(2))
        let bucket = BucketID.all[0]
        let all = Set(map.shards.map(\.id))

        #expect(throws: PlanError.self) {
            try Planner.plan(PlanInput(map: map, pins: [bucket: shard(9).id]))
        }
        #expect(throws: PlanError.self) { try Planner.plan(PlanInput(map: map, drains: all)) }
        #expect(throws: PlanError.self) {
            try Planner.plan(PlanInput(map: map, drains: [shard(9).id]))
        }
        #expect(throws: PlanError.self) {
            try Planner.plan(
                PlanInput(
                    map: map,
                    pins: [BucketID.all[1]: shard(2).id],
                    isolated: [bucket: shard(2).id]
                )
            )
        }
    }

    /// A plan is quick where it looks at each bucket a bounded number of times: 16 times the shards must not take more
    /// than about 16 times as long, on a machine of any speed.
    @Test func `time grows with buckets, not with their square`() throws {
        let clock = ContinuousClock()
        func time(_ count: Int) throws -> Duration {
            var map = try Placement.firstMap(shards: shards(count))
            map.put(shard(count + 1))
            let input = PlanInput(map: map, weights: skewedWeights())
            return try (0..<3).map { _ in try clock.measure { _ = try Planner.plan(input) } }.min()!
        }

        let (few, many) = (try time(3), try time(63))

        #expect(many / few < 60)
    }

    @Test func `a plan reads back from its JSON, and a changed one is refused`() throws {
        var map = try Placement.firstMap(shards: shards(2))
        map.put(shard(3))
        let plan = try Planner.plan(PlanInput(map: map))
        let text = String(decoding: plan.jsonBytes, as: UTF8.self)

        #expect(try Plan(json: JSONReader.parse(text)) == plan)
        let other = text.replacing("\"target\":\"s3\"", with: "\"target\":\"s9\"")
        #expect(throws: CodecError.self) { try Plan(json: JSONReader.parse(other)) }
    }

    private func skewedWeights() -> [BucketWeight] {
        BucketID.all.map { bucket in
            // Squares of something like noise: the heaviest has about 40 times what the median has.
            let noise = Double((Int(bucket.rawValue) * 7_919 + 13) % 1_021) / 1_021
            let size = 0.2 + noise * noise * noise * noise * 8
            return BucketWeight(
                bytes: Int64(size * 1_000_000),
                reads: size * (bucket.rawValue % 3 == 0 ? 2 : 1),
                writes: 1
            )
        }
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
