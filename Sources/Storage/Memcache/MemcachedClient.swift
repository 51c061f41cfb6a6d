import EventLoops
import Sharding

/// How long a memcached may take, and how much may wait for it.
package struct CacheSettings: Sendable {
    /// A node that does not answer within this time counts as down.
    package var timeout = Duration.milliseconds(200)

    /// The first wait before a node that is down is tried again; it doubles up to ``retryCeiling``.
    package var retry = Duration.milliseconds(250)
    package var retryCeiling = Duration.seconds(2)

    /// How many commands may wait for one node; those above it are misses.
    package var queueLimit = 4096

    /// How long what must be deleted waits for a newer map, after a node has said that there is one.
    package var mapPatience = Duration.milliseconds(500)

    package init() {}
}

/// The cache client on libmemcached.
///
/// Each node has a helper thread per loop, since libmemcached blocks: it takes whatever has gathered and asks for it
/// with one multi-get, so a node that hangs delays its own keys only, and those until ``CacheSettings/timeout``
/// has shown that it is down. From then on its keys are misses at once, until the helper has reached it again.
///
/// Which node has a key says the pool's map, which may change under way (``adopt(_:for:)``): the phases of a
/// change are in ``SlotRoute``, and what a client with an old map is told by the nodes in ``NodeStamp``.
package final class MemcachedClient: CacheClient, @unchecked Sendable {
    // @unchecked: touched on `loop` only.

    /// How often one call begins anew because the map has changed under it.
    static let attempts = 4

    let loop: EventLoop
    let settings: CacheSettings
    package let board = FillBoard()
    let copies: HotCopies
    private let confirm: @Sendable (CachePool, Int64) -> Bool
    private var pools: [CachePool: CachePoolState] = [:]

    /// `confirm` is asked on helper threads, and may take a moment, whether a pool's map of some generation is the
    /// newest; only a node that has forgotten everything makes the client ask.
    package init(
        loop: EventLoop,
        pools: [CachePool: PoolMap],
        settings: CacheSettings = CacheSettings(),
        confirm: @escaping @Sendable (CachePool, Int64) -> Bool = { _, _ in true }
    ) {
        loop.assertOnLoop()
        self.loop = loop
        self.settings = settings
        self.confirm = confirm
        copies = HotCopies { loop.milliseconds }
        for (pool, map) in pools { self.pools[pool] = state(pool, map, after: nil) }
        loop.onStop { [self] in
            for lane in self.pools.values.flatMap(\.lanes) { lane.close() }
        }
    }

    // MARK: The map

    /// Uses a newer map of the pool from now on; an older one changes nothing. Called on the loop.
    package func adopt(_ map: PoolMap, for pool: CachePool) {
        loop.assertOnLoop()
        let old = pools[pool]
        guard map.generation > old?.map.generation ?? -1 else { return }
        let new = state(pool, map, after: old)
        pools[pool] = new
        for waiter in old?.waiting ?? [] { waiter.wake() }
    }

    package func map(of pool: CachePool) -> PoolMap? { pools[pool]?.map }

    private func state(
        _ pool: CachePool,
        _ map: PoolMap,
        after old: CachePoolState?
    ) -> CachePoolState {
        let confirm = confirm
        let state = CachePoolState(map: map, after: old) { node in
            MemcachedLane(
                loop: loop,
                pool: pool,
                node: node,
                generation: map.generation,
                settings: settings
            ) { generation in confirm(pool, generation) }
        }
        return state
    }

    /// The pool of a key, with nodes.
    func pool(of key: CacheKey) -> CachePoolState? {
        loop.assertOnLoop()
        guard let pool = pools[key.pool], !pool.lanes.isEmpty else { return nil }
        return pool
    }

    /// Whether there is a newer map than `old`'s, or comes one in time.
    func isReplaced(_ old: CachePoolState, of pool: CachePool) async -> Bool {
        if let now = pools[pool], now !== old { return true }
        guard old.waiting.count < settings.queueLimit else { return false }
        let waiter = MapWaiter()
        old.waiting.append(waiter)
        await withUnsafeContinuation { continuation in
            waiter.continuation = continuation
            let timer = loop.after(settings.mapPatience) { waiter.wake() }
            waiter.timer = timer
        }
        old.waiting.removeAll { $0 === waiter }
        return pools[pool] !== old
    }

    // MARK: Reading

    package func get(_ key: CacheKey) async -> [UInt8]? {
        guard let pool = pool(of: key) else { return nil }
        if pool.isSteady {
            let reply = await ask(.get(key), pool, pool.home(of: key))
            if case .value(let value) = reply { return value }
        }
        return await look([key])[0]
    }

    package func get(_ keys: [CacheKey]) async -> [CacheKey: [UInt8]] {
        let steady = keys.allSatisfy { pools[$0.pool]?.isSteady ?? true }
        let replies = steady ? await askHomes(keys) : nil
        var found: [CacheKey: [UInt8]] = [:]
        var open: [CacheKey] = []
        for (index, key) in keys.enumerated() {
            switch replies?[index] {
            case .value(let value): found[key] = value
            default: open.append(key)
            }
        }
        guard !open.isEmpty else { return found }
        for (key, value) in zip(open, await look(open)) { found[key] = value }
        return found
    }

    private func askHomes(_ keys: [CacheKey]) async -> [CacheReply] {
        await gather(
            keys.map { key in
                let pool = pool(of: key)
                return Ask(.get(key), pool, pool?.home(of: key) ?? 0)
            }
        )
    }

    // MARK: Writing

    package func set(_ key: CacheKey, _ value: [UInt8], ttl: Duration) async {
        guard value.count <= CacheLimits.valueBytes else {
            // Not kept; but what was there must not be taken for it.
            _ = await delete([key])
            return
        }
        drop([key])
        let set = CacheCommand.set(key, value, seconds: ttl.cacheSeconds)
        for _ in 0..<Self.attempts {
            guard let pool = pool(of: key) else { return }
            guard await put(set, pool, pool.route(of: key)) == nil else { return }
            guard await isReplaced(pool, of: key.pool) else { return pool.distrust() }
        }
    }

    /// Sets where the key is read, and deletes where it may be copied from; in the order of ``SlotRoute/holders``.
    /// Nil where the map is outdated.
    private func put(_ set: CacheCommand, _ pool: CachePoolState, _ route: SlotRoute) async -> Bool?
    {
        var isDone = true
        for node in route.holders {
            let reply = await ask(node == route.home ? set : .delete(set.key), pool, node)
            if case .outdated = reply { return nil }
            isDone = isDone && reply.isDone
        }
        return isDone
    }

    package func add(_ key: CacheKey, _ value: [UInt8], ttl: Duration) async -> Bool {
        guard value.count <= CacheLimits.valueBytes else { return false }
        let add = CacheCommand.add(key, value, seconds: ttl.cacheSeconds)
        for _ in 0..<Self.attempts {
            guard let pool = pool(of: key) else { return false }
            let route = pool.route(of: key)
            guard pool.mayUse(route) else { return false }
            if case .warming(let from, _) = route {
                guard case .value(nil) = await ask(.get(key), pool, from), pool.mayUse(route) else {
                    return false
                }
            }
            let reply = await ask(add, pool, route.home)
            guard case .outdated = reply else { return reply.isDone }
            guard await isReplaced(pool, of: key.pool) else { return false }
        }
        return false
    }

    package func delete(_ keys: [CacheKey]) async -> Bool {
        drop(keys)
        var open = keys
        var areGone = true
        for _ in 0..<Self.attempts {
            let asked = open.map { (key: $0, pool: pool(of: $0)) }
            let replies = await deleteOnce(asked)
            open = []
            var outdated: [CachePool: CachePoolState] = [:]
            for (asked, reply) in zip(asked, replies) {
                switch reply {
                case .outdated:
                    open.append(asked.key)
                    outdated[asked.key.pool] = asked.pool
                default:
                    guard !reply.isDone else { continue }
                    areGone = false
                    // By now the key may be read elsewhere, and may have been copied there.
                    if let now = pool(of: asked.key), now !== asked.pool { now.distrust() }
                }
            }
            guard !open.isEmpty else { return areGone }
            for (pool, state) in outdated {
                guard await isReplaced(state, of: pool) else {
                    state.distrust()
                    return false
                }
            }
        }
        return false
    }

    /// Deletes each key where it may be, one node after the other.
    private func deleteOnce(
        _ asked: [(key: CacheKey, pool: CachePoolState?)]
    ) async -> [CacheReply] {
        let routes = asked.map { $0.pool?.route(of: $0.key) }
        var replies = await gather(
            zip(asked, routes).map { asked, route in
                Ask(.delete(asked.key), asked.pool, route?.holders[0] ?? 0)
            }
        )
        let moving = routes.indices.filter { routes[$0]?.holders.count == 2 }
        guard !moving.isEmpty else { return replies }
        let second = await gather(
            moving.map { index in
                Ask(.delete(asked[index].key), asked[index].pool, routes[index]!.holders[1])
            }
        )
        for (index, reply) in zip(moving, second) {
            switch (replies[index], reply) {
            case (.outdated, _), (_, .outdated): replies[index] = .outdated
            default: replies[index] = .done(replies[index].isDone && reply.isDone)
            }
        }
        return replies
    }

    package func reserve(_ key: CacheKey) async -> CacheReservation {
        for _ in 0..<Self.attempts {
            guard let pool = pool(of: key) else { return .unavailable }
            let route = pool.route(of: key)
            guard pool.mayUse(route) else { return .unavailable }
            let reply = await ask(.reserve(key), pool, route.home)
            if case .reservation(let reservation) = reply { return reservation }
            guard pools[key.pool] !== pool else { return .unavailable }
        }
        return .unavailable
    }

    package func store(
        _ key: CacheKey,
        _ value: [UInt8],
        ttl: Duration,
        token: CacheToken
    ) async -> Bool {
        guard value.count <= CacheLimits.valueBytes else {
            _ = await delete([key])
            return false
        }
        guard let pool = pool(of: key) else { return false }
        // A node of another map has another incarnation than the token.
        let store = CacheCommand.store(key, value, seconds: ttl.cacheSeconds, token)
        return await ask(store, pool, pool.home(of: key)).isDone
    }

    package func settle(_ filled: [CacheFilling], ttl: Duration) {
        loop.assertOnLoop()
        for filling in filled {
            let key = filling.key
            guard let pool = pool(of: key) else {
                board.wake(key)
                continue
            }
            let node = pool.home(of: key)
            let waiter = CacheWaiter.call { [board] _ in board.wake(key) }
            guard let value = filling.value, value.count <= CacheLimits.valueBytes else {
                pool.submit(.delete(key), node, waiter)
                continue
            }
            let seconds = ttl.cacheSeconds
            pool.submit(.store(key, value, seconds: seconds, filling.token), node, waiter)
        }
    }

    /// What this process has changed is not read from copies any more.
    private func drop(_ keys: [CacheKey]) { copies.drop(keys) }

    package var hot: any CacheClient { HotKeys(cache: self, copies: copies) }

    // MARK: Figures

    /// Counters since the start, summed over the nodes of one pool.
    package func statistics(of pool: CachePool) -> CacheStatistics {
        loop.assertOnLoop()
        guard let state = pools[pool] else { return CacheStatistics() }
        return state.lanes.reduce(into: state.past) { $0 += $1.statistics }
    }

    /// How many nodes of `pool` do not answer at the moment.
    package func nodesDown(in pool: CachePool) -> Int {
        loop.assertOnLoop()
        return pools[pool]?.lanes.count { !$0.isUp } ?? 0
    }

    // MARK: Asking

    /// One command for one node of a pool.
    struct Ask {
        let command: CacheCommand
        let pool: CachePoolState?
        let node: Int

        init(_ command: CacheCommand, _ pool: CachePoolState?, _ node: Int) {
            self.command = command
            self.pool = pool
            self.node = node
        }
    }

    func ask(_ command: CacheCommand, _ pool: CachePoolState, _ node: Int) async -> CacheReply {
        CacheCost.current?.add(roundTrips: 1, keys: 1)
        return await withUnsafeContinuation { pool.submit(command, node, .single($0)) }
    }

    /// Asks all at once and waits for all.
    func gather(_ asks: [Ask]) async -> [CacheReply] {
        loop.assertOnLoop()
        guard !asks.isEmpty else { return [] }
        CacheCost.current?.count(asks)
        return await withUnsafeContinuation { continuation in
            let gathering = CacheGathering(count: asks.count, continuation)
            for (index, ask) in asks.enumerated() {
                if let pool = ask.pool {
                    pool.submit(ask.command, ask.node, .part(gathering, index: index))
                } else {
                    gathering.receive(ask.command.whenUnavailable, at: index)
                }
            }
        }
    }
}

/// What one client has seen.
package struct CacheStatistics: Sendable, Equatable {
    package var hits = 0
    package var misses = 0
    /// Commands that were answered without the node: it was down, or too much waited for it.
    package var refused = 0
    /// Values that were copied from a node that their slot is leaving.
    package var copied = 0

    package static func += (sum: inout CacheStatistics, other: CacheStatistics) {
        sum.hits += other.hits
        sum.misses += other.misses
        sum.refused += other.refused
        sum.copied += other.copied
    }
}

extension CacheCost {
    fileprivate func count(_ asks: [MemcachedClient.Ask]) {
        var nodes: Set<ObjectIdentifier> = []
        for ask in asks {
            if let pool = ask.pool { nodes.insert(ObjectIdentifier(pool.lanes[ask.node])) }
        }
        add(roundTrips: nodes.count, keys: asks.count)
    }
}

extension CacheReply {
    var isDone: Bool {
        if case .done(true) = self { true } else { false }
    }
}

extension CacheCommand {
    var key: CacheKey {
        switch self {
        case .get(let key), .copy(let key), .set(let key, _, _), .add(let key, _, _),
            .delete(let key), .reserve(let key), .store(let key, _, _, _):
            key
        }
    }
}

extension Duration {
    /// Whole seconds as memcached takes them: at least one, at most ``CacheLimits/lifetime``.
    var cacheSeconds: Int {
        let bounded = Swift.min(self, CacheLimits.lifetime)
        let (seconds, attoseconds) = bounded.components
        return Swift.max(1, Int(seconds) + (attoseconds > 0 ? 1 : 0))
    }
}
