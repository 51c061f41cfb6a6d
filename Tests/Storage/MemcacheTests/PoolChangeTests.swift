import EventLoops
import Memcache
import Sharding
import Synchronization
import TestSupport
import Testing

/// Pools whose nodes come and go, on real memcached processes.
@Suite(.serialized) struct PoolChangeTests {
    let servers: [MemcachedServer]
    /// Four nodes; the fifth is there to come.
    let first: PoolMap
    let fifth: CacheNode

    init() async throws {
        var servers: [MemcachedServer] = []
        for _ in 0..<5 { servers.append(try await MemcachedServer.start(megabytes: 16)) }
        let nodes = servers.map { CacheNode(host: $0.host, port: UInt16($0.port)) }
        self.servers = servers
        first = PoolMap(nodes: Array(nodes[..<4]))
        fifth = nodes[4]
    }

    /// A machine that stands still for a moment is no outage here.
    private func patient(_ transport: CacheTransport) -> CacheSettings {
        var settings = CacheSettings(transport)
        settings.timeout = .seconds(10)
        settings.mapPatience = .seconds(2)
        return settings
    }

    /// A client that has the first map.
    private func aClient(on loop: EventLoop, _ transport: CacheTransport) -> MemcachedClient {
        MemcachedClient(loop: loop, pools: [.feed: first], settings: patient(transport))
    }

    /// What whoever drives a change does between two maps.
    private func stamp(_ map: PoolMap) throws {
        for node in map.stampsDue {
            try PoolNodeAccess(node, in: .feed).raiseStamp(to: map.generation)
        }
    }

    private func server(of node: CacheNode) throws -> MemcachedServer {
        try #require(servers.first { UInt16($0.port) == node.port })
    }

    /// A key in a slot that moves by `map`.
    private func movingKey(_ map: PoolMap, _ name: String) -> CacheKey {
        let moving = Set(map.moving)
        return (0..<1_000).lazy.map { CacheKey(.feed, "\(name)-\($0)") }
            .first { moving.contains($0.slot) }!
    }

    @Test(arguments: CacheTransport.allCases)
    func `no reader goes back while nodes come, change and leave, and clients hear of it late`(
        transport: CacheTransport
    ) async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        let race = CacheRace(seed: seed, items: 40)
        let clients = Clients()
        let map = first
        let contract = CacheContract { loop in
            let client = MemcachedClient(
                loop: loop,
                pools: [.feed: map],
                settings: CacheSettings(transport)
            )
            clients.add(client, on: loop)
            return client
        }

        try await withThrowingTaskGroup(of: Void.self) { group in
            for side in 0..<2 {
                group.addTask {
                    try await contract.withClient { client, loop in
                        var random = SeededGenerator(seed: seed &+ UInt64(side))
                        while !clients.mayGo {
                            try await race.turn(client, loop, &random, side: side)
                        }
                    }
                }
            }
            defer { clients.letGo() }
            try await clients.wait(for: 2)
            let last = try await carry(
                [
                    { try $0.adding(fifth) }, { try $0.removing(map.nodes[0]) },
                    { try $0.replacing(map.nodes[1], with: map.nodes[0]) },
                ],
                to: clients
            )
            #expect(last.generation == 12)
        }

        #expect(race.worst == 0, "seed \(seed)")
    }

    /// Each change through its phases; one client hears of each map at once, the other after the stamps.
    private func carry(
        _ changes: [@Sendable (PoolMap) throws -> PoolMap],
        to clients: Clients
    ) async throws -> PoolMap {
        var map = first
        for change in changes {
            map = try change(map)
            while true {
                clients.adopt(map, by: 0)
                try await Task.sleep(for: .milliseconds(30))
                try stamp(map)
                try await Task.sleep(for: .milliseconds(30))
                clients.adopt(map, by: 1)
                try await Task.sleep(for: .milliseconds(60))
                if map.phase == .steady { break }
                map = map.advancing()
            }
        }
        return map
    }

    @Test(arguments: CacheTransport.allCases)
    func `growing from four to five nodes adds loads to two of a hundred reads at most`(
        transport: CacheTransport
    ) async throws {
        let map = first
        try await withLoop { loop in
            let client = aClient(on: loop, transport)
            let keys = (0..<1_000).map { CacheKey(.feed, "warm-\($0)") }
            var random = SeededGenerator(seed: 7)
            var loads = 0
            func read(_ count: Int) async throws {
                for _ in 0..<count {
                    let key = keys.randomElement(using: &random)!
                    let value = try await client.fill(key, ttl: .seconds(600)) {
                        loads += 1
                        return Array(key.name.utf8)
                    }
                    #expect(value == Array(key.name.utf8))
                }
            }
            for key in keys { await client.set(key, Array(key.name.utf8), ttl: .seconds(600)) }

            var now = try map.adding(fifth)
            #expect(now.moving.count == PoolMap.slotCount / 5)
            while true {
                client.adopt(now, for: .feed)
                try stamp(now)
                try await read(1_500)
                if now.phase == .steady { break }
                now = now.advancing()
            }

            #expect(loads * 50 <= 6_000, "\(loads) loads of 6,000 reads")
            let statistics = client.statistics(of: .feed)
            #expect(statistics.copied > 100, "\(statistics)")
        }
    }

    @Test(arguments: CacheTransport.allCases)
    func `many keys at once are found wherever they are`(transport: CacheTransport) async throws {
        let map = first
        try await withLoop { loop in
            let client = aClient(on: loop, transport)
            let keys = (0..<300).map { CacheKey(.feed, "many-\($0)") }
            for key in keys { await client.set(key, Array(key.name.utf8), ttl: .seconds(600)) }

            var now = try map.adding(fifth)
            while now.phase != .steady {
                client.adopt(now, for: .feed)
                let found = await client.get(keys)
                #expect(found.count == keys.count, "\(now.phase)")
                #expect(found.allSatisfy { $0.value == Array($0.key.name.utf8) })
                now = now.advancing()
            }
            client.adopt(now, for: .feed)
            #expect(await client.get(keys).count == keys.count)
        }
    }

    @Test(arguments: CacheTransport.allCases)
    func `a client with an old map is told so, and reads nothing old afterwards`(
        transport: CacheTransport
    ) async throws {
        let map = first
        try await withLoop { loop in
            let old = aClient(on: loop, transport)
            let new = aClient(on: loop, transport)
            let announced = try map.adding(fifth)
            let key = movingKey(announced, "old")
            await old.set(key, [1], ttl: .seconds(600))
            new.adopt(announced, for: .feed)
            try stamp(announced)
            let warming = announced.advancing()
            new.adopt(warming, for: .feed)
            #expect(await new.get(key) == [1])

            #expect(await old.get(key) == nil, "its map is too old to say")
            #expect(await !old.delete([key]), "it does not know where else to delete")
            #expect(await new.get(key) == [1])
            old.adopt(warming, for: .feed)

            #expect(await old.get(key) == nil, "what it could not delete it does not read")
            #expect(await old.delete([key]))
            #expect(await new.get(key) == nil)
        }
    }

    @Test(arguments: CacheTransport.allCases)
    func `a deletion waits for the map that it lacks`(transport: CacheTransport) async throws {
        let map = first
        try await withLoop { loop in
            let client = aClient(on: loop, transport)
            let announced = try map.adding(fifth)
            let key = movingKey(announced, "late")
            await client.set(key, [1], ttl: .seconds(600))
            try stamp(announced)

            async let isGone = client.delete([key])
            loop.after(.milliseconds(20)) { client.adopt(announced, for: .feed) }

            #expect(await isGone)
            #expect(await client.get(key) == nil)
        }
    }

    @Test(arguments: CacheTransport.allCases)
    func `a copy lives no longer than what it was made of`(transport: CacheTransport) async throws {
        let map = first
        try await withLoop { loop in
            let client = aClient(on: loop, transport)
            let announced = try map.adding(fifth)
            let key = movingKey(announced, "life")
            await client.set(key, [1], ttl: .seconds(2))
            let warming = announced.advancing()
            client.adopt(warming, for: .feed)
            let copied = await client.get(key)
            client.adopt(warming.advancing().advancing(), for: .feed)

            #expect(copied == [1] || copied == nil, "a slow machine may have lost it already")
            let ended = await eventually(loop) { await client.get(key) == nil }
            #expect(ended)
        }
    }

    @Test(arguments: CacheTransport.allCases)
    func `a node that has forgotten everything is used by a map that is confirmed`(
        transport: CacheTransport
    ) async throws {
        let map = first
        let isNewest = Mutex(false)
        try await withLoop { loop in
            let client = MemcachedClient(
                loop: loop,
                pools: [.feed: map],
                settings: CacheSettings(transport)
            ) { _, _ in
                isNewest.withLock { $0 }
            }
            let key = CacheKey(.feed, "confirmed")

            await client.set(key, [1], ttl: .seconds(60))
            #expect(await client.get(key) == nil)
            isNewest.withLock { $0 = true }

            let works = await eventually(loop) {
                await client.set(key, [2], ttl: .seconds(60))
                return await client.get(key) == [2]
            }
            #expect(works)
        }
    }

    @Test(arguments: CacheTransport.allCases)
    func `a dead node is replaced, and what it had is filled anew`(transport: CacheTransport)
        async throws
    {
        let map = first
        let dead = map.nodes[2]
        let server = try server(of: dead)
        try await withLoop { loop in
            let client = MemcachedClient(
                loop: loop,
                pools: [.feed: map],
                settings: CacheSettings(transport)
            )
            let key = (0..<1_000).lazy.map { CacheKey(.feed, "dead-\($0)") }
                .first { map.nodes[map.route(of: $0.slot)!.home] == dead }!
            await client.set(key, [1], ttl: .seconds(60))
            await server.process.kill()
            #expect(await client.get(key) == nil)

            client.adopt(try map.losing(dead, replacement: fifth), for: .feed)

            let value = try await client.fill(key, ttl: .seconds(60)) { [2] }
            #expect(value == [2])
            #expect(await client.get(key) == [2])
            #expect(await client.delete([key]))
        }
    }

    @Test(arguments: CacheTransport.allCases)
    func `a new node is not read while what could not be deleted may be copied to it`(
        transport: CacheTransport
    ) async throws {
        let map = first
        try await withLoop { loop in
            var settings = CacheSettings(transport)
            // Long enough for the other one to be first when the node is back.
            settings.retry = .seconds(2)
            let mine = MemcachedClient(loop: loop, pools: [.feed: map], settings: settings)
            let other = MemcachedClient(
                loop: loop,
                pools: [.feed: map],
                settings: CacheSettings(transport)
            )
            let warming = try map.adding(fifth).advancing()
            let key = movingKey(warming, "unsure")
            let source = try server(of: warming.nodes[warming.route(of: key.slot)!.holders[0]])
            await mine.set(key, [1], ttl: .seconds(600))
            for client in [mine, other] { client.adopt(warming, for: .feed) }

            // Known to be down: so the deletion is not even sent.
            await source.process.freeze()
            #expect(await mine.add(key, [9], ttl: .seconds(1)) == false)
            #expect(await !mine.delete([key]))
            source.process.thaw()
            let copied = await eventually(loop) { await other.get(key) == [1] }
            #expect(copied, "nobody has told the other one")

            for _ in 0..<100 {
                let value = await mine.get(key)
                #expect(value == nil)
                try await loop.sleep(for: .milliseconds(5))
            }
            let back = await eventually(loop) {
                // A load that cannot fail does not.
                _ = try? await mine.fill(key, ttl: .seconds(60)) { [2] }
                return await mine.get(key) == [2]
            }
            #expect(back)
        }
    }
}

/// The clients of a test, in the order in which they were made.
private final class Clients: Sendable {
    private let isOver = Mutex(false)
    private let all = Mutex<[(loop: EventLoop, client: MemcachedClient)]>([])

    func add(_ client: MemcachedClient, on loop: EventLoop) {
        all.withLock { $0.append((loop, client)) }
    }

    var mayGo: Bool { isOver.withLock { $0 } }

    func letGo() { isOver.withLock { $0 = true } }

    func wait(for count: Int) async throws {
        while all.withLock({ $0.count }) < count { try await Task.sleep(for: .milliseconds(5)) }
    }

    func adopt(_ map: PoolMap, by index: Int) {
        let (loop, client) = all.withLock { $0[index] }
        loop.execute { client.adopt(map, for: .feed) }
    }
}
