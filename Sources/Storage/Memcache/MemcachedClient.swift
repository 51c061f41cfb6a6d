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

    package init() {}
}

/// The cache client on libmemcached.
///
/// Each node has a helper thread per loop, since libmemcached blocks: it takes whatever has gathered and asks for it
/// with one multi-get, so a node that hangs delays its own keys only, and those until ``CacheSettings/timeout``
/// has shown that it is down. From then on its keys are misses at once, until the helper has reached it again.
package final class MemcachedClient: CacheClient, @unchecked Sendable {
    // @unchecked: touched on `loop` only.
    let loop: EventLoop
    private let pools: [CachePool: Pool]

    private struct Pool {
        let map: PoolMap
        let lanes: [MemcachedLane]
    }

    package init(
        loop: EventLoop,
        pools: [CachePool: PoolMap],
        settings: CacheSettings = CacheSettings()
    ) {
        loop.assertOnLoop()
        self.loop = loop
        self.pools = pools.mapValues { map in
            Pool(
                map: map,
                lanes: map.nodes.map { MemcachedLane(loop: loop, node: $0, settings: settings) }
            )
        }
        let lanes = self.pools.values.flatMap(\.lanes)
        loop.onStop { for lane in lanes { lane.close() } }
    }

    package func get(_ key: CacheKey) async -> [UInt8]? {
        guard case .value(let value) = await ask(.get(key), key) else { return nil }
        return value
    }

    package func get(_ keys: [CacheKey]) async -> [CacheKey: [UInt8]] {
        let replies = await ask(keys) { .get($0) }
        var found: [CacheKey: [UInt8]] = [:]
        for (key, reply) in zip(keys, replies) {
            if case .value(let value?) = reply { found[key] = value }
        }
        return found
    }

    package func set(_ key: CacheKey, _ value: [UInt8], ttl: Duration) async {
        guard value.count <= CacheLimits.valueBytes else {
            // Not kept; but what was there must not be taken for it.
            _ = await delete([key])
            return
        }
        _ = await ask(.set(key, value, seconds: ttl.cacheSeconds), key)
    }

    package func add(_ key: CacheKey, _ value: [UInt8], ttl: Duration) async -> Bool {
        guard value.count <= CacheLimits.valueBytes else { return false }
        return await ask(.add(key, value, seconds: ttl.cacheSeconds), key).isDone
    }

    package func delete(_ keys: [CacheKey]) async -> Bool {
        await ask(keys) { .delete($0) }.allSatisfy(\.isDone)
    }

    package func reserve(_ key: CacheKey) async -> CacheReservation {
        guard case .reservation(let reservation) = await ask(.reserve(key), key) else {
            return .unavailable
        }
        return reservation
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
        return await ask(.store(key, value, seconds: ttl.cacheSeconds, token), key).isDone
    }

    /// Counters since the start, summed over the nodes of one pool.
    package func statistics(of pool: CachePool) -> CacheStatistics {
        loop.assertOnLoop()
        return (pools[pool]?.lanes ?? []).reduce(into: CacheStatistics()) { $0 += $1.statistics }
    }

    /// How many nodes of `pool` do not answer at the moment.
    package func nodesDown(in pool: CachePool) -> Int {
        loop.assertOnLoop()
        return pools[pool]?.lanes.count { !$0.isUp } ?? 0
    }

    // MARK: Asking

    private func lane(of key: CacheKey) -> MemcachedLane? {
        guard let pool = pools[key.pool], !pool.lanes.isEmpty else { return nil }
        if pool.lanes.count == 1 { return pool.lanes[0] }
        return pool.map.route(of: key.slot).map { pool.lanes[$0.home] }
    }

    private func ask(_ command: CacheCommand, _ key: CacheKey) async -> CacheReply {
        loop.assertOnLoop()
        guard let lane = lane(of: key) else { return command.whenUnavailable }
        return await withUnsafeContinuation { lane.submit(command, .single($0)) }
    }

    private func ask(
        _ keys: [CacheKey],
        _ command: (CacheKey) -> CacheCommand
    ) async -> [CacheReply] {
        loop.assertOnLoop()
        guard !keys.isEmpty else { return [] }
        return await withUnsafeContinuation { continuation in
            let gathering = CacheGathering(count: keys.count, continuation)
            for (index, key) in keys.enumerated() {
                let command = command(key)
                if let lane = lane(of: key) {
                    lane.submit(command, .part(gathering, index: index))
                } else {
                    gathering.receive(command.whenUnavailable, at: index)
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

    package static func += (sum: inout CacheStatistics, other: CacheStatistics) {
        sum.hits += other.hits
        sum.misses += other.misses
        sum.refused += other.refused
    }
}

extension CacheReply {
    var isDone: Bool {
        if case .done(true) = self { true } else { false }
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
