import Memcache
import Sharding
import Simulation
import Testing

/// A pool that changes its nodes while clients use it by maps of different age: nobody reads what was deleted before.
struct PoolRaceTests {
    private static let seeds: Range<UInt64> = 1..<301

    private static func node(_ number: Int) -> CacheNode {
        CacheNode(host: "10.0.0.\(number)", port: 11211)
    }

    /// Two nodes become three, one of them is replaced, and the new one leaves: each change in its phases.
    private static let course: [PoolMap] = {
        var maps = [PoolMap(nodes: [node(1), node(2)])]
        func go(_ change: (PoolMap) throws(PoolMapError) -> PoolMap) {
            do {
                maps.append(try change(maps.last!))
            } catch {
                preconditionFailure("\(error)")
            }
            while maps.last!.phase != .steady { maps.append(maps.last!.advancing()) }
        }
        go { map throws(PoolMapError) in try map.adding(node(3)) }
        go { map throws(PoolMapError) in try map.replacing(node(1), with: node(4)) }
        go { map throws(PoolMapError) in try map.removing(node(3)) }
        return maps
    }()

    /// Keys in slots that move by each of the changes, or by none.
    private static let keys: [Int] = {
        let moving = course.filter { $0.phase == .announced }.map { Set($0.moving) }
        let still = (0..<PoolMap.slotCount).first { slot in !moving.contains { $0.contains(slot) } }
        return Array(Set(moving.map { $0.min()! } + [still ?? 0])).sorted()
    }()

    private func world(
        seed: UInt64,
        flaw: PoolWorld.Flaw? = nil
    ) -> PoolWorld {
        let simulator = Simulator(seed: seed)
        let world = PoolWorld(
            simulator,
            map: Self.course[0],
            keys: Self.keys,
            loss: simulator.chance(0.5) ? 0.02 : 0,
            flaw: flaw
        )
        let end = 10_000
        for number in 0..<4 {
            let client = PoolClient("client \(number)", world, map: Self.course[0])
            simulator.step(within: 0...100) { client.work(until: end) }
            // One hears of maps at once, another seldom.
            let patience = [20, 200, 1_000, 3_000][number]
            func listen() {
                guard simulator.now < end else { return }
                simulator.step(within: 1...patience) {
                    client.adopt(world.newest)
                    listen()
                }
            }
            listen()
        }
        simulator.step(within: 0...800) { world.drive(Self.course[1...]) }
        if simulator.chance(0.5) {
            for _ in 0..<8 {
                simulator.step(within: 0...end) {
                    let nodes = world.servers.keys.sorted()
                    world.restart(nodes.randomElement(using: &simulator.random)!)
                }
            }
        }
        _ = simulator.run()
        return world
    }

    @Test func `nobody reads what was deleted, at any phase and by any map`() {
        var answered = 0, cached = 0
        for seed in Self.seeds {
            let world = world(seed: seed)
            answered += world.answered
            cached += world.cached
            #expect(world.wrong.isEmpty, "seed \(seed): \(world.wrong.prefix(3))")
        }
        #expect(cached * 3 > answered, "\(cached) of \(answered) came from the cache")
    }

    @Test(arguments: PoolWorld.Flaw.allCases)
    func `a change with a known flaw is caught`(flaw: PoolWorld.Flaw) {
        let caught = Self.seeds.first { !world(seed: $0, flaw: flaw).wrong.isEmpty }

        #expect(caught != nil)
    }
}
