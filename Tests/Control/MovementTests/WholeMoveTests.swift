import Coordination
import Movement
import Sharding
import TestSupport
import Testing

@Suite(.serialized)
struct WholeMoveTests {
    @Test func `a move takes the rows of its buckets along, and nothing else`() async throws {
        let world = try await MoveWorld.make()
        try await world.fill(rows: 1_000)
        let before = try await world.content(world.source, 3)
        let runner = MoveRunner(world.spec, world.driver())

        try await runner.run()

        #expect(runner.move.step == .cleaned, "\(runner.failures)")
        #expect(runner.failures == [])
        #expect(try await world.content(world.target, 3) == before)
        #expect(try await world.content(world.source, 3).hasPrefix("0"))
        #expect(try await world.content(world.source, 5).hasPrefix("1000"))
        #expect(try await world.owners(world.source) == "3 gone 1, 700 gone 1")
        #expect(try await world.owners(world.target) == "3 own 2, 700 own 2")
        #expect(try await world.leftovers(runner.driver) == [])
    }

    @Test func `nothing is lost or doubled while people write`() async throws {
        let world = try await MoveWorld.make()
        try await world.fill(rows: 2_000)
        let isOver = Mutexed(false)
        let writers = [(3, 101), (3, 102), (700, 103), (5, 104)].map {
            MoveWriter(world: world, bucket: $0.0, reader: $0.1)
        }
        async let logs = withTaskGroup(of: (Int, MoveWriter.Log).self) { group in
            for (index, writer) in writers.enumerated() {
                group.addTask { (index, await writer.write(until: isOver)) }
            }
            return await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
        let runner = MoveRunner(world.spec, world.driver())

        try await Task.sleep(for: .milliseconds(300))
        try await runner.run()
        try await Task.sleep(for: .milliseconds(300))
        isOver.value = true
        let written = await logs

        #expect(runner.move.step == .cleaned, "\(runner.failures)")
        for (index, writer) in writers.enumerated() {
            let log = written[index]!
            let owner = writer.bucket == 5 ? world.source : world.target
            #expect(log.writes > 20)
            #expect(log.failures == [])
            #expect(try await writer.rows(on: owner) == log.rows)
        }
        #expect(written[3]!.refusals == 0)
        #expect(try await world.content(world.source, 3).hasPrefix("0"))
        #expect(try await world.leftovers(runner.driver) == [])
    }

    @Test func `each piece of work may be done twice`() async throws {
        let world = try await MoveWorld.make()
        try await world.fill(rows: 500)
        let before = try await world.content(world.source, 700)
        let runner = MoveRunner(world.spec, world.driver { $0.wholeTailRows = 10_000 }) {
            $0.keepsReverse = true
            $0.retention = .milliseconds(10)
        }
        runner.repeatsWork = true

        try await runner.run()

        #expect(runner.failures == [])
        #expect(runner.move.step == .cleaned)
        #expect(runner.works.contains("startReverse"))
        #expect(try await world.content(world.target, 700) == before)
        #expect(try await world.owners(world.target) == "3 own 2, 700 own 2")
        #expect(try await world.leftovers(runner.driver) == [])
    }

    @Test(arguments: [
        MoveStep.prechecked, .prepared, .copying, .catchingUp, .verifying, .fencing, .published,
        .reverseSync, .retired,
    ])
    func `a successor finishes what was left at any step`(step: MoveStep) async throws {
        let world = try await MoveWorld.make(modules: ["Feed"])
        try await world.fill(rows: 300)
        let before = try await world.content(world.source, 3)
        let first = MoveRunner(world.spec, world.driver()) {
            $0.keepsReverse = true
            $0.retention = .milliseconds(10)
        }
        first.dieAfter = step
        await #expect(throws: MoveRunner.Died.self) { try await first.run() }

        let second = try MoveRunner(after: first, world.driver())
        try await second.run()

        #expect(second.move.step == .cleaned, "\(second.failures)")
        #expect(try await world.content(world.target, 3) == before)
        #expect(try await world.content(world.source, 3).hasPrefix("0"))
        #expect(try await world.leftovers(second.driver) == [])
    }

    @Test(arguments: ["awaitMarker", "compareTail", "release", "activate", "settleSource"])
    func `a successor ends a pause that nobody ended`(work: String) async throws {
        let world = try await MoveWorld.make(modules: ["Feed"])
        try await world.fill(rows: 300)
        let before = try await world.content(world.source, 3)
        let first = MoveRunner(world.spec, world.driver())
        first.beforeWork = { if $0.name == work { throw MoveRunner.Died() } }
        await #expect(throws: MoveRunner.Died.self) { try await first.run() }

        let second = try MoveRunner(after: first, world.driver())
        try await second.run()

        #expect(second.move.step == .cleaned, "\(second.failures)")
        #expect(try await world.content(world.target, 3) == before)
        #expect(try await world.leftovers(second.driver) == [])
    }

    @Test func `a rollback takes the buckets back with what was written meanwhile`() async throws {
        let world = try await MoveWorld.make()
        try await world.fill(rows: 500)
        let driver = world.driver()
        let runner = MoveRunner(world.spec, driver) {
            $0.keepsReverse = true
            $0.retention = .seconds(3_600)
        }
        try await runner.run(untilRetention: true)
        try await world.target.psql(
            """
            INSERT INTO feed.entry SELECT 3, 9, n, n FROM generate_series(1, 2000) AS n;
            UPDATE feed.entry SET author = 1 WHERE bucket = 3 AND reader = 1 AND post_id <= 100;
            DELETE FROM feed.entry WHERE bucket = 700 AND post_id > 400;
            """
        )
        let after = try await (
            world.content(world.target, 3), world.content(world.target, 700)
        )

        let id = MoveID(number: world.spec.id.number + 1)!
        try await runner.handle(.rollbackAsked(as: id))
        let back = MoveRunner(
            MoveSpec(
                id: id,
                kind: .rollback(of: world.spec.id),
                source: world.spec.target,
                target: world.spec.source,
                buckets: world.spec.buckets
            )!,
            driver
        )
        try await back.run()

        #expect(back.move.step == .cleaned, "\(back.failures)")
        #expect(back.failures == [])
        #expect(try await world.content(world.source, 3) == after.0)
        #expect(try await world.content(world.source, 700) == after.1)
        #expect(try await world.content(world.target, 3).hasPrefix("0"))
        #expect(try await world.owners(world.source) == "3 own 3, 700 own 3")
        #expect(try await world.owners(world.target) == "3 gone 2, 700 gone 2")
        #expect(try await world.leftovers(driver) == [])
    }

    @Test func `a move that is taken back before its fence leaves nothing`() async throws {
        let world = try await MoveWorld.make()
        try await world.fill(rows: 500)
        let before = try await world.content(world.source, 3)
        let runner = MoveRunner(world.spec, world.driver())
        runner.beforeWork = { [unowned runner] work in
            guard work.name == "prepareReverse" || work.name == "verify" else { return }
            runner.beforeWork = nil
            try await runner.handle(.abortAsked(reason: "the test wants it"))
        }

        try await runner.run()

        #expect(runner.move.step == .undone)
        #expect(try await world.content(world.source, 3) == before)
        #expect(try await world.content(world.target, 3).hasPrefix("0"))
        #expect(try await world.owners(world.source) == "3 own 1, 700 own 1")
        #expect(try await world.leftovers(runner.driver) == [])
    }
}
