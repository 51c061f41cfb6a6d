import EventLoops
import Memcache
import Sharding
import TestSupport
import Testing

/// Pools with a gutter, on real memcached processes that are killed and stopped.
@Suite(.serialized) struct GutterTests {
    let servers: [MemcachedServer]
    let gutter: MemcachedServer
    let map: PoolMap
    let gutterMap: PoolMap

    init() async throws {
        var servers: [MemcachedServer] = []
        for _ in 0..<4 { servers.append(try await MemcachedServer.start(megabytes: 16)) }
        let gutter = try await MemcachedServer.start(megabytes: 16)
        self.servers = servers
        self.gutter = gutter
        map = PoolMap(nodes: servers.map { CacheNode(host: $0.host, port: UInt16($0.port)) })
        gutterMap = PoolMap(nodes: [CacheNode(host: gutter.host, port: UInt16(gutter.port))])
    }

    private func contract(
        _ transport: CacheTransport,
        timeout: Duration = .seconds(10)
    ) -> CacheContract {
        var settings = CacheSettings(transport)
        settings.timeout = timeout
        settings.fillPatience = .seconds(10)
        let pools = [CachePool.feed: map, .gutter: gutterMap]
        return CacheContract { [settings] loop in
            MemcachedClient(loop: loop, pools: pools, settings: settings)
        }
    }

    private func server(of key: CacheKey) -> MemcachedServer {
        let node = map.nodes[map.route(of: key.slot)!.home]
        return servers.first { UInt16($0.port) == node.port }!
    }

    private func key(_ name: String, on server: MemcachedServer) -> CacheKey {
        (0..<1_000).lazy.map { CacheKey(.feed, "\(name)-\($0)") }
            .first { self.server(of: $0) === server }!
    }

    @Test(arguments: CacheTransport.allCases)
    func `half of the nodes killed under load cost one load for each lost key`(
        transport: CacheTransport
    ) async throws {
        let keys = (0..<200).map { CacheKey(.feed, "lost-\($0)") }
        let dead = Array(servers[..<2])
        let lost = keys.count { key in dead.contains { $0 === server(of: key) } }
        let loads = Shared<[CacheKey: Int]>([:])
        let reads = Shared(0)
        let isOver = Shared(false)
        let contract = contract(transport)

        try await withThrowingTaskGroup(of: Void.self) { group in
            for side in 0..<2 {
                group.addTask {
                    try await contract.withClient { client, _ in
                        var random = SeededGenerator(seed: UInt64(side))
                        while !isOver.withLock({ $0 }) {
                            let some = keys.shuffled(using: &random).prefix(20)
                            let found = try await client.fill(Array(some), ttl: .seconds(600)) {
                                missing in
                                loads.withLock { loads in
                                    for key in missing { loads[key, default: 0] += 1 }
                                }
                                return Dictionary(uniqueKeysWithValues: missing.map { ($0, [1]) })
                            }
                            #expect(found.count == 20)
                            reads.withLock { $0 += 1 }
                        }
                    }
                }
            }
            defer { isOver.withLock { $0 = true } }
            try await untilMore(reads, by: 200)
            for server in dead { await server.process.kill() }
            try await untilMore(reads, by: 400)
        }

        let counts = loads.withLock { $0 }
        #expect(counts.count == keys.count)
        #expect(counts.values.reduce(0, +) <= keys.count + lost, "\(lost) lost")
        for key in keys where !dead.contains(where: { $0 === server(of: key) }) {
            #expect(counts[key] == 1)
        }
    }

    private func untilMore(_ reads: Shared<Int>, by count: Int) async throws {
        let goal = reads.withLock { $0 } + count
        while reads.withLock({ $0 }) < goal { try await Task.sleep(for: .milliseconds(2)) }
    }

    @Test(arguments: CacheTransport.allCases)
    func `what is deleted is deleted in the gutter, too`(transport: CacheTransport) async throws {
        let dead = servers[0]
        let key = key("both", on: dead)
        let map = map
        let gutterMap = gutterMap
        try await contract(transport).withClient { other, loop in
            var settings = CacheSettings(transport)
            settings.timeout = .milliseconds(50)
            let cut = MemcachedClient(
                loop: loop,
                pools: [.feed: map, .gutter: gutterMap],
                settings: settings
            )
            // For one client the node is down, for the other it is not.
            await dead.process.freeze()
            #expect(await cut.get(key) == nil)
            _ = try await cut.fill(key, ttl: .seconds(60)) { [1] }
            #expect(await cut.get(key) == [1])
            async let isGone = other.delete([key])
            dead.process.thaw()
            #expect(await isGone)

            #expect(await cut.get(key) != [1], "wherever it reads now")
        }
    }

    @Test(arguments: CacheTransport.allCases)
    func `a value lies in the gutter until its node is back`(transport: CacheTransport)
        async throws
    {
        let dead = servers[0]
        let key = key("back", on: dead)
        try await contract(transport).withClient { client, loop in
            await dead.process.kill()
            _ = await client.get(key)
            await client.set(key, [1], ttl: .seconds(60))
            #expect(await client.get(key) == [1])
            #expect(await !client.delete([key]), "its own node cannot say")
            #expect(await client.get(key) == nil)

            try await dead.startAgain()
            let back = await eventually(loop) {
                await client.set(key, [2], ttl: .seconds(60))
                return (client as? MemcachedClient)?.nodesDown(in: .feed) == 0
            }
            #expect(back)
            await client.set(key, [3], ttl: .seconds(60))
            #expect(await client.get(key) == [3])
        }
    }

    @Test(arguments: CacheTransport.allCases)
    func `no reader goes back while nodes are stopped, killed and started`(
        transport: CacheTransport
    ) async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        let race = CacheRace(seed: seed, items: 20)
        let isOver = Shared(false)
        let contract = contract(transport, timeout: .milliseconds(40))
        let all = servers[..<2] + [gutter]

        try await withThrowingTaskGroup(of: Void.self) { group in
            for side in 0..<2 {
                group.addTask {
                    try await contract.withClient { client, loop in
                        var random = SeededGenerator(seed: seed &+ UInt64(side))
                        while !isOver.withLock({ $0 }) {
                            try await race.turn(client, loop, &random, side: side)
                        }
                    }
                }
            }
            defer { isOver.withLock { $0 = true } }
            var random = SeededGenerator(seed: seed)
            for _ in 0..<5 {
                let server = all.randomElement(using: &random)!
                try await Task.sleep(for: .milliseconds(Int.random(in: 10...60, using: &random)))
                if Bool.random(using: &random) {
                    await server.process.freeze()
                    let pause = Int.random(in: 10...150, using: &random)
                    try await Task.sleep(for: .milliseconds(pause))
                    server.process.thaw()
                } else {
                    await server.process.kill()
                    try await server.startAgain()
                }
            }
        }

        #expect(race.worst == 0, "seed \(seed)")
    }
}
