import Coordination
import Movement
import Sharding
import TestSupport
import Testing

/// Both sides of a move are replaced by their standbys while it is under way.
@Suite(.serialized)
struct FailoverTests {
    @Test func `a move whose servers are promoted copies again, and loses nothing`() async throws {
        let servers = try await (PostgresServer.start(), PostgresServer.start())
        let world = try await MoveWorld.make(modules: ["Feed"], on: servers)
        try await world.fill(rows: 300)
        let before = try await world.content(world.source, 3)
        let now = Mutexed([world.source.id: world.source, world.target.id: world.target])
        let runner = MoveRunner(world.spec, world.driver())
        // The source when it is about to be verified, the target when its markers are about to be waited for.
        let due = Mutexed([("verify", world.source), ("awaitMarker", world.target)])
        runner.beforeWork = { work in
            guard let (name, shard) = due.value.first, work.name == name else { return }
            due.change { _ = $0.removeFirst() }
            let promoted = try await shard.failedOver()
            now.change { $0[shard.id] = promoted }
            world.records.change { $0[promoted.record.id] = promoted.record }
        }

        try await runner.run()

        let source = now.value[world.source.id]!
        let target = now.value[world.target.id]!
        #expect(runner.move.step == .cleaned, "\(runner.failures)")
        #expect(runner.works.count { $0 == "copy" } == 3, "\(runner.failures)")
        #expect(runner.failures.allSatisfy { $0.contains("was promoted") }, "\(runner.failures)")
        #expect(try await world.content(target, 3) == before)
        #expect(try await world.content(source, 3).hasPrefix("0"))
        #expect(try await world.owners(target) == "3 own 4, 700 own 4")
        #expect(try await world.leftovers(runner.driver) == [])
        for shard in [source, target] { await shard.server.process.stop() }
    }
}
