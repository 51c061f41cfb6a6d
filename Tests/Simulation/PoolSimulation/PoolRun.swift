internal import Memcache
internal import Sharding
internal import Simulation

/// One run of a pool that changes its nodes while clients use it by maps of different age.
package struct PoolRun {
    package let seed: UInt64
    package let flaw: PoolFlaw?
    /// What somebody read that was deleted before.
    package let wrong: [String]
    /// Reads, and those of them that came from the cache.
    package let answered: Int
    package let cached: Int

    package init(seed: UInt64, flaw: PoolFlaw? = nil) {
        let world = Self.world(seed: seed, flaw: flaw)
        self.seed = seed
        self.flaw = flaw
        (wrong, answered, cached) = (world.wrong, world.answered, world.cached)
    }

    /// What repeats this run.
    package var command: String {
        "swift run simulate --scenario pools --seeds \(seed)"
            + (flaw.map { " --flaw \($0.rawValue)" } ?? "")
    }

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

    private static func world(seed: UInt64, flaw: PoolFlaw?) -> PoolWorld {
        let simulator = Simulator(seed: seed)
        let hasGutter = simulator.chance(0.5)
        let world = PoolWorld(
            simulator,
            map: course[0],
            gutter: hasGutter ? PoolMap(nodes: [node(9)]) : nil,
            keys: keys,
            loss: simulator.chance(0.5) ? 0.02 : 0,
            flaw: flaw
        )
        let end = 10_000
        for number in 0..<4 {
            let client = PoolClient("client \(number)", world, map: course[0])
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
        if !hasGutter || simulator.chance(0.5) {
            simulator.step(within: 0...800) { world.drive(course[1...]) }
        }
        if hasGutter || simulator.chance(0.5) {
            for _ in 0..<8 {
                simulator.step(within: 0...end) {
                    let nodes = world.servers.keys.sorted()
                    let node = nodes.randomElement(using: &simulator.random)!
                    if hasGutter, simulator.chance(0.7) {
                        world.freeze(node, for: Int.random(in: 50...900, using: &simulator.random))
                    } else {
                        world.restart(node)
                    }
                }
            }
        }
        _ = simulator.run()
        return world
    }
}
