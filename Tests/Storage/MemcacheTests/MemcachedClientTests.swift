import EventLoops
import Memcache
import Metrics
import Sharding
import Synchronization
import TestSupport
import Testing

/// The client against real memcached processes, by each of its protocols.
@Suite(.serialized) struct MemcachedClientTests {
    let nodes: [MemcachedServer]
    let map: PoolMap

    init() async throws {
        let nodes = [
            try await MemcachedServer.start(megabytes: 16),
            try await MemcachedServer.start(megabytes: 16),
        ]
        let map = PoolMap(
            nodes: nodes.map { CacheNode(host: $0.host, port: UInt16($0.port)) }
        )
        self.nodes = nodes
        self.map = map
    }

    private func contract(
        _ transport: CacheTransport,
        patience: Duration = CacheLimits.fillPatience
    ) -> CacheContract {
        var settings = CacheSettings(transport)
        settings.fillPatience = patience
        return contract(settings)
    }

    private func contract(_ settings: CacheSettings) -> CacheContract {
        let map = map
        return CacheContract { loop in
            MemcachedClient(
                loop: loop,
                pools: [.feed: map, .object: map, .session: map],
                settings: settings
            )
        }
    }

    // MARK: The contract

    @Test(arguments: CacheTransport.allCases)
    func `values of all kinds come back`(transport: CacheTransport) async throws {
        try await contract(transport).valuesOfAllKindsComeBack()
    }

    @Test(arguments: CacheTransport.allCases)
    func `many keys come back at once`(transport: CacheTransport) async throws {
        try await contract(transport).manyKeysComeBackAtOnce()
    }

    @Test(arguments: CacheTransport.allCases)
    func `strange names are keys`(transport: CacheTransport) async throws {
        try await contract(transport).strangeNamesAreKeys()
    }

    @Test(arguments: CacheTransport.allCases)
    func `add puts only where nothing is, and delete takes away`(transport: CacheTransport)
        async throws
    {
        try await contract(transport).addAndDelete()
    }

    @Test(arguments: CacheTransport.allCases)
    func `a value that is too large takes the old one away`(transport: CacheTransport) async throws
    {
        try await contract(transport).aTooLargeValueTakesTheOldOneAway()
    }

    @Test(arguments: CacheTransport.allCases)
    func `a fill loads once`(transport: CacheTransport) async throws {
        try await contract(transport).aFillLoadsOnce()
    }

    @Test(arguments: CacheTransport.allCases)
    func `an absent or failed load leaves nothing behind`(transport: CacheTransport) async throws {
        try await contract(transport).anAbsentOrFailedLoadLeavesNothingBehind()
    }

    @Test(arguments: CacheTransport.allCases)
    func `a delete between load and store wins`(transport: CacheTransport) async throws {
        try await contract(transport).aDeleteBetweenLoadAndStoreWins()
    }

    @Test(arguments: CacheTransport.allCases)
    func `a delete and a second fill between load and store win`(transport: CacheTransport)
        async throws
    {
        try await contract(transport).aDeleteAndASecondFillBetweenLoadAndStoreWin()
    }

    @Test(arguments: CacheTransport.allCases)
    func `a marker is no value`(transport: CacheTransport) async throws {
        try await contract(transport).aMarkerIsNoValue()
    }

    @Test(arguments: CacheTransport.allCases)
    func `no reader goes back behind a delete that was answered`(transport: CacheTransport)
        async throws
    {
        let seed = UInt64.random(in: 0...UInt64.max)
        try await contract(transport).noReaderGoesBack(seed: seed, writes: 1500)
    }

    @Test(arguments: CacheTransport.allCases)
    func `the race catches a client that stores without looking at its token`(
        transport: CacheTransport
    ) async throws {
        let makeClient = contract(transport).makeClient
        let careless = CacheContract { CarelessClient(client: makeClient($0)) }

        #expect(try await careless.farthestBack(seed: 1, writes: 1500) < 0)
    }

    @Test func `no reader goes back where one client speaks the one protocol and one the other`()
        async throws
    {
        let transports = Mutex(CacheTransport.allCases)
        let map = map
        let mixed = CacheContract { loop in
            let transport = transports.withLock { $0.popLast() ?? .meta }
            return MemcachedClient(
                loop: loop,
                pools: [.feed: map],
                settings: CacheSettings(transport)
            )
        }
        let seed = UInt64.random(in: 0...UInt64.max)
        try await mixed.noReaderGoesBack(seed: seed, writes: 1500)
    }

    // MARK: Many at once, and expiring

    @Test(arguments: CacheTransport.allCases)
    func `500 clients on one cold key make one load`(transport: CacheTransport) async throws {
        try await contract(transport, patience: .seconds(60)).aCrowdOnAColdKeyLoadsOnce()
    }

    @Test(arguments: CacheTransport.allCases)
    func `many clients on many cold keys load each once`(transport: CacheTransport) async throws {
        try await contract(transport, patience: .seconds(60)).aCrowdOnManyColdKeysLoadsEachOnce()
    }

    @Test(arguments: CacheTransport.allCases)
    func `a fill that nobody ends is loaded by few`(transport: CacheTransport) async throws {
        try await contract(transport, patience: .milliseconds(60))
            .aFillThatNobodyEndsIsLoadedByFew()
    }

    @Test(arguments: CacheTransport.allCases)
    func `a failed load fails one reader`(transport: CacheTransport) async throws {
        try await contract(transport, patience: .seconds(60)).aFailedLoadFailsOneReader()
    }

    @Test(arguments: CacheTransport.allCases)
    func `what is expired is read by who allows it`(transport: CacheTransport) async throws {
        try await contract(transport, patience: .milliseconds(60))
            .whatIsExpiredIsReadByWhoAllowsIt(keepsStale: transport == .meta)
    }

    @Test(arguments: CacheTransport.allCases)
    func `an expiry between load and store wins`(transport: CacheTransport) async throws {
        try await contract(transport).anExpiryBetweenLoadAndStoreWins()
    }

    @Test func `many cold keys cost one round trip for each node`() async throws {
        let keys = (0..<40).map { CacheKey(.object, "cost-\($0)") }

        let cost = try await contract(.meta).withClient { client, _ in
            let cost = RequestCost()
            try await RequestCost.$current.withValue(cost) {
                _ = try await client.fill(keys, ttl: .seconds(60)) { missing in
                    Dictionary(uniqueKeysWithValues: missing.map { ($0, [1]) })
                }
            }
            #expect(await client.get(keys).count == keys.count)
            return cost
        }

        #expect(cost.cacheTrips == 2)
        #expect(cost.cacheKeys == keys.count)
    }

    // MARK: Nodes that fail

    /// A key on the first node, and one on the second.
    private func keys(_ name: String) -> (first: CacheKey, second: CacheKey) {
        let all = (0..<1000).map { CacheKey(.object, "\(name)-\($0)") }
        func key(on server: MemcachedServer) -> CacheKey {
            all.first { map.nodes[map.route(of: $0.slot)!.home].port == UInt16(server.port) }!
        }
        return (key(on: nodes[0]), key(on: nodes[1]))
    }

    @Test(arguments: CacheTransport.allCases)
    func `a stopped node costs its own keys a bounded time, and others nothing`(
        transport: CacheTransport
    ) async throws {
        let (stopped, healthy) = keys("stopped")
        let first = nodes[0]

        try await contract(transport).withClient { client, loop in
            await client.set(stopped, [1], ttl: .seconds(60))
            await client.set(healthy, [2], ttl: .seconds(60))
            await first.process.freeze()

            async let slow = timed { await client.get(stopped) }
            var longest = Duration.zero
            for _ in 0..<50 {
                let (value, took) = await timed { await client.get(healthy) }
                #expect(value == [2])
                longest = max(longest, took)
            }
            #expect(longest < .milliseconds(100), "\(longest)")
            let (value, took) = await slow
            #expect(value == nil)
            #expect(took < .milliseconds(800), "\(took)")

            let (_, later) = await timed { await client.get(stopped) }
            #expect(later < .milliseconds(20), "a node known to be down costs nothing: \(later)")

            first.process.thaw()
            let back = await eventually(loop) { await client.get(stopped) == [1] }
            #expect(back, "nothing was changed meanwhile, so what is there still holds")
        }
    }

    @Test(arguments: CacheTransport.allCases)
    func `a node that missed a delete comes back without what it held`(transport: CacheTransport)
        async throws
    {
        let (key, _) = keys("missed")
        let first = nodes[0]

        try await contract(transport).withClient { client, loop in
            await client.set(key, [1], ttl: .seconds(60))
            await first.process.freeze()
            #expect(await !client.delete([key]))

            first.process.thaw()
            let back = await eventually(loop) { await client.add(key, [2], ttl: .seconds(60)) }
            #expect(back)
            #expect(await client.get(key) == [2])
        }
    }

    @Test(arguments: CacheTransport.allCases)
    func `a deletion waits for a node that is away for a moment`(transport: CacheTransport)
        async throws
    {
        let (key, _) = keys("moment")
        let first = nodes[0]
        let contract = contract(transport)

        try await contract.withClient { client, loop in
            await client.set(key, [1], ttl: .seconds(60))
            await first.process.freeze()
            loop.after(.milliseconds(400)) { first.process.thaw() }
            #expect(await client.delete([key]))
        }

        let read = try await contract.withClient { client, _ in await client.get(key) }
        #expect(read == nil, "another client had no reason to distrust the node")
    }

    @Test(arguments: CacheTransport.allCases)
    func `a killed node is a miss, and serves again after its restart`(transport: CacheTransport)
        async throws
    {
        let (key, healthy) = keys("killed")
        let first = nodes[0]

        try await contract(transport).withClient { client, loop in
            await client.set(key, [1], ttl: .seconds(60))
            await client.set(healthy, [2], ttl: .seconds(60))
            await first.process.kill()
            #expect(await client.get([key, healthy]) == [healthy: [2]])
            let loaded = try await client.fill(key, ttl: .seconds(60)) { [3] }
            #expect(loaded == [3])

            try await first.startAgain()
            let back = await eventually(loop) { await client.add(key, [4], ttl: .seconds(60)) }
            #expect(back)
            #expect(await client.get(key) == [4])
        }
    }

    @Test(arguments: CacheTransport.allCases)
    func `a restart between two calls is not an outage`(transport: CacheTransport) async throws {
        let (key, _) = keys("restart")
        let first = nodes[0]

        try await contract(transport).withClient { client, _ in
            await client.set(key, [1], ttl: .seconds(60))
            await first.process.kill()
            try await first.startAgain()
            #expect(await client.get(key) == nil)
            await client.set(key, [2], ttl: .seconds(60))
            #expect(await client.get(key) == [2])
        }
    }

    @Test(arguments: CacheTransport.allCases)
    func `a reservation of before a restart stores nothing after it`(transport: CacheTransport)
        async throws
    {
        let (key, _) = keys("token")
        let first = nodes[0]

        try await contract(transport).withClient { client, _ in
            guard case .owned(let old) = await client.reserve(key) else {
                Issue.record("the key was free")
                return
            }
            await first.process.kill()
            try await first.startAgain()
            // memcached counts from one again, so the new marker may well have the old number.
            guard case .owned(let new) = await client.reserve(key) else {
                Issue.record("the node is empty")
                return
            }
            #expect(await !client.store(key, [1], ttl: .seconds(60), token: old))
            #expect(await client.store(key, [2], ttl: .seconds(60), token: new))
        }
    }

    @Test(arguments: CacheTransport.allCases)
    func `what a client sees is in the metrics`(transport: CacheTransport) async throws {
        let (key, _) = keys("metrics")
        let first = nodes[0]
        let map = map

        try await withLoop { loop in
            let client = MemcachedClient(
                loop: loop,
                pools: [.object: map],
                settings: CacheSettings(transport)
            )
            let metrics = MetricsRegistry()
            CacheMetrics.register(client, in: metrics)
            await client.set(key, [1], ttl: .seconds(60))
            _ = await client.get(key)
            _ = await client.get(CacheKey(.object, "nothing"))
            await first.process.kill()
            _ = await client.get(key)
            _ = await client.get(key)

            let seen = await eventually(loop) {
                let text = metrics.render()
                return text.contains(
                    "tessera_cache_reads_total{pool=\"object\",result=\"hit\"} 1\n"
                )
                    && text.contains("tessera_cache_nodes_down{loop=\"0\",pool=\"object\"} 1\n")
                    && !text.contains("tessera_cache_refused_total{pool=\"object\"} 0\n")
            }
            #expect(seen, "\(metrics.render())")
        }
    }

    @Test(arguments: CacheTransport.allCases)
    func `a client without nodes misses`(transport: CacheTransport) async throws {
        let empty = CacheContract {
            MemcachedClient(loop: $0, pools: [:], settings: CacheSettings(transport))
        }

        try await empty.withClient { client, _ in
            let key = CacheKey(.feed, "x")
            await client.set(key, [1], ttl: .seconds(1))
            #expect(await client.get(key) == nil)
            let loaded = try await client.fill(key, ttl: .seconds(1)) { [2] }
            #expect(loaded == [2])
            #expect(await !client.delete([key]))
        }
    }
}

/// Breaks the contract on purpose: what it loaded may resurrect.
private struct CarelessClient: CacheClient {
    let client: any CacheClient

    func get(_ key: CacheKey) async -> [UInt8]? { await client.get(key) }

    func get(_ keys: [CacheKey]) async -> [CacheKey: [UInt8]] { await client.get(keys) }

    func set(_ key: CacheKey, _ value: [UInt8], ttl: Duration) async {
        await client.set(key, value, ttl: ttl)
    }

    func add(_ key: CacheKey, _ value: [UInt8], ttl: Duration) async -> Bool {
        await client.add(key, value, ttl: ttl)
    }

    func delete(_ keys: [CacheKey]) async -> Bool { await client.delete(keys) }

    func reserve(_ key: CacheKey) async -> CacheReservation { await client.reserve(key) }

    func store(
        _ key: CacheKey,
        _ value: [UInt8],
        ttl: Duration,
        token: CacheToken
    ) async -> Bool {
        await client.set(key, value, ttl: ttl)
        return true
    }
}

private func timed<T: Sendable>(_ body: () async -> T) async -> (T, Duration) {
    let start = ContinuousClock.now
    let value = await body()
    return (value, ContinuousClock.now - start)
}

extension CacheSettings {
    init(_ transport: CacheTransport) {
        self.init()
        self.transport = transport
    }
}

/// Asks until the answer is true, for five seconds.
func eventually(_ loop: EventLoop, _ body: () async -> Bool) async -> Bool {
    let end = ContinuousClock.now + .seconds(5)
    while ContinuousClock.now < end {
        if await body() { return true }
        // Only a cancelled test is woken early, and then the loop above ends soon anyway.
        try? await loop.sleep(for: .milliseconds(20))
    }
    return false
}
