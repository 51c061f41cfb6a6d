import EventLoops
import Sharding

// Changing: wherever a key may be read, by this client or another.

extension MemcachedClient {
    package func set(_ key: CacheKey, _ value: [UInt8], ttl: Duration) async {
        guard value.count <= CacheLimits.valueBytes else {
            // Not kept; but what was there must not be taken for it.
            _ = await delete([key])
            return
        }
        drop([key])
        await put(key, value, ttl)
        guard hasGutter(for: key) else { return }
        if pools[key.pool]?.answers(key) ?? false {
            _ = await remove([Removal(key: key.inGutter, expires: false)])
        } else {
            await put(key.inGutter, value, min(ttl, CacheLimits.gutterTime))
        }
    }

    private func put(_ key: CacheKey, _ value: [UInt8], _ ttl: Duration) async {
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

    package func delete(_ keys: [CacheKey]) async -> Bool { await remove(keys, expiring: false) }

    package func expire(_ keys: [CacheKey]) async -> Bool { await remove(keys, expiring: true) }

    private func remove(_ keys: [CacheKey], expiring: Bool) async -> Bool {
        drop(keys)
        var due = keys.map { Removal(key: $0, expires: expiring) }
        for key in keys where hasGutter(for: key) {
            due.append(Removal(key: key.inGutter, expires: false))
        }
        return await remove(due)
    }

    // MARK: Removing

    private struct Removal {
        let key: CacheKey
        /// Whether its value stays for those who allow it.
        let expires: Bool
        /// By whose map it is asked.
        var pool: CachePoolState?

        /// At the first or second of the nodes that may have it.
        func command(at holder: Int, _ route: SlotRoute?) -> CacheCommand {
            guard expires, let route, route.holders[holder] == route.home else {
                return .delete(key)
            }
            return .expire(key)
        }
    }

    /// What is acknowledged next must not be read in its old state; so a node that was away for a moment is waited for.
    private func remove(_ due: [Removal]) async -> Bool {
        var missed = await removeAll(due)
        var isSure = true
        while true {
            let waited = missed.filter { $0.pool?.isWorthWaiting(for: $0.key, loop) ?? false }
            isSure = isSure && waited.count == missed.count
            guard !waited.isEmpty else { return isSure }
            // Whoever is cancelled answers nobody.
            guard (try? await loop.sleep(for: Self.removalPause)) != nil else { return false }
            missed = await removeAll(waited)
            // By another map it was deleted elsewhere, and may be read where it was not.
            isSure = isSure && waited.allSatisfy { pool(of: $0.key) === $0.pool }
        }
    }

    /// Between two looks for a node that was away when something was to be deleted there.
    private static let removalPause = Duration.milliseconds(25)

    /// Gives those that may still be read.
    private func removeAll(_ due: [Removal]) async -> [Removal] {
        var open = due
        var missed: [Removal] = []
        for _ in 0..<Self.attempts {
            for index in open.indices { open[index].pool = pool(of: open[index].key) }
            let asked = open
            let replies = await removeOnce(asked)
            open = []
            var outdated: [CachePool: CachePoolState] = [:]
            for (asked, reply) in zip(asked, replies) {
                switch reply {
                case .outdated:
                    open.append(asked)
                    outdated[asked.key.pool] = asked.pool
                default:
                    guard !reply.isDone else { continue }
                    missed.append(asked)
                    // By now the key may be read elsewhere, and may have been copied there.
                    if let now = pool(of: asked.key), now !== asked.pool { now.distrust() }
                }
            }
            guard !open.isEmpty else { return missed }
            for (pool, state) in outdated {
                guard await isReplaced(state, of: pool) else {
                    state.distrust()
                    return missed + open
                }
            }
        }
        return missed + open
    }

    /// Removes each key where it may be, one node after the other.
    private func removeOnce(_ asked: [Removal]) async -> [CacheReply] {
        let routes = asked.map { $0.pool?.route(of: $0.key) }
        var replies = await gather(
            zip(asked, routes).map { asked, route in
                Ask(asked.command(at: 0, route), asked.pool, route?.holders[0] ?? 0)
            }
        )
        note(replies, asked.indices.map { (asked[$0].pool, routes[$0]?.holders[0]) })
        let moving = routes.indices.filter { routes[$0]?.holders.count == 2 }
        guard !moving.isEmpty else { return replies }
        let second = await gather(
            moving.map { index in
                let route = routes[index]!
                return Ask(
                    asked[index].command(at: 1, route),
                    asked[index].pool,
                    route.holders[1]
                )
            }
        )
        note(second, moving.map { (asked[$0].pool, routes[$0]!.holders[1]) })
        for (index, reply) in zip(moving, second) {
            switch (replies[index], reply) {
            case (.outdated, _), (_, .outdated): replies[index] = .outdated
            default: replies[index] = .done(replies[index].isDone && reply.isDone)
            }
        }
        return replies
    }

    private func note(_ replies: [CacheReply], _ asked: [(pool: CachePoolState?, node: Int?)]) {
        for (reply, asked) in zip(replies, asked) {
            if let node = asked.node { asked.pool?.note(removal: reply, at: node, loop) }
        }
    }
}
