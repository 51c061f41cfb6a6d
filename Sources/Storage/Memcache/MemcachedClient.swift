import EventLoops
import Sharding

/// The cache client: which node has a key, and what is done there, whatever the protocol.
///
/// Each node has a lane per loop (``CacheLane``), which gathers what a turn of the loop asks of it. A node that hangs
/// delays its own keys only, and those until ``CacheSettings/timeout`` has shown that it is down. From then on they
/// are read and filled in the pool ``CachePool/gutter``, where there is one, until the lane has reached the node again;
/// whatever is deleted is deleted in both.
///
/// Which node has a key says the pool's map, which may change under way (``adopt(_:for:)``): the phases of a
/// change are in ``SlotRoute``, and what a client with an old map is told by the nodes in ``NodeStamp``.
package final class MemcachedClient: CacheClient, @unchecked Sendable {
    // @unchecked: touched on `loop` only.

    /// How often one call begins anew because the map has changed under it.
    static let attempts = 4

    let loop: EventLoop
    let settings: CacheSettings
    package let board: FillBoard
    let copies: HotCopies
    private let confirm: @Sendable (CachePool, Int64) async -> Bool
    private(set) var pools: [CachePool: CachePoolState] = [:]
    private var isStopped = false

    /// The clients of the process's other loops, and whether any of them may hold copies.
    private var siblings: [MemcachedClient] = []
    private var holdsCopies = false

    /// `confirm` is asked, and may take a moment, whether a pool's map of some generation is the newest; only a node
    /// that has forgotten everything makes the client ask.
    package init(
        loop: EventLoop,
        pools: [CachePool: PoolMap],
        settings: CacheSettings = CacheSettings(),
        confirm: @escaping @Sendable (CachePool, Int64) async -> Bool = { _, _ in true }
    ) {
        loop.assertOnLoop()
        self.loop = loop
        self.settings = settings
        self.confirm = confirm
        board = FillBoard(patience: settings.fillPatience)
        copies = HotCopies(lifetime: settings.heldTime) { loop.milliseconds }
        for (pool, map) in pools { self.pools[pool] = state(pool, map, after: nil) }
        loop.onStop { [self] in
            isStopped = true
            for lane in self.pools.values.flatMap(\.lanes) { lane.close() }
        }
    }

    // MARK: The map

    /// Uses a newer map of the pool from now on; an older one changes nothing. Called on the loop.
    package func adopt(_ map: PoolMap, for pool: CachePool) {
        loop.assertOnLoop()
        let old = pools[pool]
        guard !isStopped, map.generation > old?.map.generation ?? -1 else { return }
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
        return CachePoolState(map: map, after: old) { node in
            makeLane(pool, node, map.generation) { await confirm(pool, $0) }
        }
    }

    private func makeLane(
        _ pool: CachePool,
        _ node: CacheNode,
        _ generation: Int64,
        confirm: @escaping @Sendable (Int64) async -> Bool
    ) -> any CacheLane {
        switch settings.transport {
        case .meta:
            MetaLane(
                loop: loop,
                pool: pool,
                node: node,
                generation: generation,
                settings: settings,
                confirm: confirm
            )
        case .libmemcached:
            MemcachedLane(
                loop: loop,
                pool: pool,
                node: node,
                generation: generation,
                settings: settings,
                confirm: confirm
            )
        }
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

    // MARK: Copies in the process

    package var hot: any CacheClient {
        guard settings.heldTime > .zero else { return self }
        holdsCopies = true
        return HotKeys(cache: self, copies: copies)
    }

    /// Tells the client of those on the process's other loops, which drop what this one changes. On the loop.
    func know(_ siblings: [MemcachedClient]) { self.siblings = siblings }

    /// What this process changes it does not read from copies any more.
    func drop(_ keys: [CacheKey]) {
        guard holdsCopies else { return }
        copies.drop(keys)
        for sibling in siblings { sibling.loop.execute { sibling.copies.drop(keys) } }
    }

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
        count(pool, node)
        return await withUnsafeContinuation { pool.submit(command, node, .single($0)) }
    }

    /// Notes what a request waits for; what a turn asks of a node travels together.
    private func count(_ pool: CachePoolState, _ node: Int) {
        RequestCost.current?.askedCache(pool.lanes[node], batch: loop.statistics.turns)
    }

    /// Asks all at once and waits for all.
    func gather(_ asks: [Ask]) async -> [CacheReply] {
        loop.assertOnLoop()
        guard !asks.isEmpty else { return [] }
        for ask in asks { if let pool = ask.pool { count(pool, ask.node) } }
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
    /// How often a node was left alone since it did not answer.
    package var ejections = 0

    package static func += (sum: inout CacheStatistics, other: CacheStatistics) {
        sum.hits += other.hits
        sum.misses += other.misses
        sum.refused += other.refused
        sum.copied += other.copied
        sum.ejections += other.ejections
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
            .delete(let key), .expire(let key), .lease(let key), .reserve(let key),
            .store(let key, _, _, _):
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
