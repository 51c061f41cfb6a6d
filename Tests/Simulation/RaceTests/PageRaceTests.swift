import Pages
import Simulation
import Testing

/// Rendered pages against withdrawals: no node shows what has been gone for longer than the bound, whatever stands
/// still, is cut off, takes its time or commits late.
struct PageRaceTests {
    private static let seeds: Range<UInt64> = 1..<61

    private func world(seed: UInt64, flaw: PageWorld.Flaw? = nil) -> PageWorld {
        let simulator = Simulator(seed: seed)
        let world = PageWorld(simulator, flaw: flaw)
        let nodes = ["a", "b", "c"].map { PageNode($0, world) }
        let end = 300_000
        for node in nodes {
            simulator.step(within: 0...2_000) { node.listen(until: end) }
            for _ in 0..<2 {
                simulator.step(within: 0...end) { node.standStill(for: 30_000) }
                simulator.step(within: 0...end) {
                    let shard = world.shardIDs.randomElement(using: &simulator.random)!
                    node.cut(from: shard, for: 40_000)
                }
            }
        }
        for _ in 0..<1_200 {
            simulator.step(within: 0...end) {
                nodes.randomElement(using: &simulator.random)!
                    .read(for: Int.random(in: 0..<PageWorld.viewers, using: &simulator.random))
            }
        }
        // Early, so that a page which was rendered before is done when the nodes have forgotten.
        for post in 1...8 as ClosedRange<Int64> {
            simulator.step(within: 20_000...80_000) { world.withdraw(post) }
            for _ in 0..<3 { simulator.step(within: 0...end) { world.move(post) } }
        }
        #expect(simulator.run(until: end + 300_000, bound: Simulator.stepBound))
        return world
    }

    @Test func `nobody is shown what has been gone for longer than the bound`() {
        var served = 0, inSilence = 0
        for seed in Self.seeds {
            let world = world(seed: seed)
            served += world.served
            inSilence += world.servedInSilence
            #expect(world.leaks.isEmpty, "seed \(seed): \(world.leaks.prefix(3))")
        }
        #expect(served > 300 * Self.seeds.count, "only \(served) pages came from the cache")
        #expect(inSilence > Self.seeds.count, "only \(inSilence) of nodes that were cut off")
    }

    @Test(arguments: PageWorld.Flaw.allCases)
    func `a protocol with a known flaw is caught`(flaw: PageWorld.Flaw) {
        let caught = Self.seeds.first { !world(seed: $0, flaw: flaw).leaks.isEmpty }

        #expect(caught != nil)
    }
}
