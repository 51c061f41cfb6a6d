import Coordination
import Sharding
import Testing

struct MoveScheduleTests {
    private func step(_ source: Int, _ target: Int, _ bucket: Int) -> Plan.Step {
        Plan.Step(
            source: shard(source).id,
            target: shard(target).id,
            buckets: [BucketID.all[bucket]],
            bytes: 1_000,
            reason: .balance
        )
    }

    @Test func `no source and no target has more moves than allowed`() {
        var schedule = MoveSchedule(moves: [])
        let steps = [step(1, 2, 0), step(1, 3, 1), step(4, 2, 2), step(4, 3, 3)]

        #expect(schedule.start(steps) == [steps[0], steps[3]])
    }

    @Test func `the total is bounded, and running moves count`() {
        let running = aMove()
        var schedule = MoveSchedule(moves: [running], limits: MoveLimits(total: 2))
        let steps = [step(1, 3, 1), step(3, 4, 2), step(5, 6, 3)]

        // s1 gives already.
        #expect(schedule.start(steps) == [steps[1]])
    }

    @Test func `a bucket of an unfinished move is not moved again`() {
        var run = MoveRun(aMove())
        run.run(until: "measureReverse")
        var schedule = MoveSchedule(moves: [run.move])

        #expect(schedule.start([step(2, 3, 5)]).isEmpty)
        #expect(schedule.start([step(1, 2, 6)]).count == 1)
        run.toEnd()
        schedule = MoveSchedule(moves: [run.move])
        #expect(schedule.start([step(2, 3, 5)]).count == 1)
    }

    @Test func `a move that only has old rows to delete keeps its buckets, but not its shards`() {
        var run = MoveRun(aMove())
        run.run(until: "clean")
        var schedule = MoveSchedule(moves: [run.move])

        #expect(schedule.start([step(1, 2, 5)]).isEmpty)
        #expect(schedule.start([step(1, 2, 6)]).count == 1)
    }

    @Test func `only the newest ways back of a shard stay open`() {
        func open(_ number: Int64, _ source: Int, _ target: Int) -> BucketMove {
            let spec = MoveSpec(
                id: MoveID(number: number)!,
                source: shard(source).id,
                target: shard(target).id,
                buckets: [BucketID.all[Int(number)]]
            )!
            var run = MoveRun(BucketMove(spec: spec))
            run.run(until: "measureReverse")
            return run.move
        }
        let moves = [open(1, 1, 2), open(2, 1, 3), open(3, 1, 4), open(4, 5, 6)]
        let names = (1...2).map { MoveID(number: $0)! }

        #expect(MoveSchedule.surplus(among: moves, perShard: 3).isEmpty)
        #expect(MoveSchedule.surplus(among: moves, perShard: 2) == [names[0]])
        #expect(MoveSchedule.surplus(among: moves, perShard: 1) == [names[1], names[0]])
    }

    @Test func `neighbours in a plan have different shards where they can`() throws {
        var map = try Placement.firstMap(shards: shards(4))
        map.put(shard(5))
        map.put(shard(6))

        let steps = try Planner.plan(PlanInput(map: map)).steps

        var schedule = MoveSchedule(moves: [])
        #expect(schedule.start(steps).count == 2)
        #expect(steps[0].source != steps[1].source && steps[0].target != steps[1].target)
    }

    @Test func `the expected time is that of the busiest shard`() {
        let steps = [step(1, 2, 0), step(1, 3, 1), step(4, 5, 2)]

        let time = MoveSchedule.duration(
            of: steps,
            bytesPerSecond: 1_000,
            overhead: .seconds(1)
        )

        #expect(time == .seconds(4))
    }
}
