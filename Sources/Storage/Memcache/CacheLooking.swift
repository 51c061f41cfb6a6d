import Sharding

// Reading by a map on which slots change their node: many keys at once, each by its CacheLookup.

extension MemcachedClient {
    /// The value of each key, in order.
    func look(_ keys: [CacheKey]) async -> [[UInt8]?] {
        var values = [[UInt8]?](repeating: nil, count: keys.count)
        var open = Array(keys.indices)
        for _ in 0..<Self.attempts {
            let round = LookRound(keys: keys, open: open) { self.pool(of: $0) }
            await run(round)
            for (index, value) in round.values { values[index] = value }
            // By the newest map there is; where none is newer they are misses.
            open = round.outdated.filter { pool(of: keys[$0]) !== round.pools[$0] }
            if open.isEmpty { break }
        }
        return values
    }

    private func run(_ round: LookRound) async {
        await knock(round)
        var due = round.begin()
        while !due.isEmpty {
            let replies = await gather(due.map { Ask($0.command, $0.pool, $0.node) })
            due = zip(due, replies).flatMap { round.take($1, for: $0.index) }
        }
    }

    /// Has old nodes that may hold what was not deleted put out of reach, before the new ones are read.
    private func knock(_ round: LookRound) async {
        let knocks = round.closedSources().map { Ask(.get($0.key), $0.pool, $0.node) }
        if !knocks.isEmpty { _ = await gather(knocks) }
    }
}

/// One attempt at some keys, by the maps as they were at its beginning.
private final class LookRound {
    struct Due {
        let index: Int
        let command: CacheCommand
        let pool: CachePoolState?
        let node: Int
    }

    let keys: [CacheKey]
    private let open: [Int]
    private(set) var pools: [Int: CachePoolState] = [:]
    private(set) var values: [Int: [UInt8]] = [:]
    private(set) var outdated: [Int] = []
    private var routes: [Int: SlotRoute] = [:]
    private var lookups: [Int: CacheLookup] = [:]

    init(keys: [CacheKey], open: [Int], pool: (CacheKey) -> CachePoolState?) {
        self.keys = keys
        self.open = open
        for index in open {
            guard let pool = pool(keys[index]) else { continue }
            pools[index] = pool
            routes[index] = pool.route(of: keys[index])
        }
    }

    /// A key for each old node that keeps its new node from being used, by the old node.
    func closedSources() -> [(key: CacheKey, pool: CachePoolState, node: Int)] {
        open.compactMap { index in
            guard let pool = pools[index], let route = routes[index], !pool.mayUse(route) else {
                return nil
            }
            return (keys[index], pool, route.holders[0])
        }
    }

    func begin() -> [Due] {
        open.flatMap { index -> [Due] in
            guard let pool = pools[index], let route = routes[index], pool.mayUse(route) else {
                return []
            }
            let lookup = CacheLookup(route)
            lookups[index] = lookup
            return perform([lookup.start], index)
        }
    }

    /// What is due next for the key, after its node has answered.
    func take(_ reply: CacheReply, for index: Int) -> [Due] {
        let event: CacheLookup.Event
        switch reply {
        case .value(let value): event = .got(value)
        case .reservation(let reservation): event = .reserved(reservation)
        case .copy(let copy): event = .copied(copy)
        case .outdated:
            outdated.append(index)
            return []
        case .done, .lease: preconditionFailure("neither is asked for here")
        }
        guard let effects = lookups[index]?.apply(event) else { return [] }
        return perform(effects, index)
    }

    private func perform(_ effects: [CacheLookup.Effect], _ index: Int) -> [Due] {
        let key = keys[index]
        let pool = pools[index]
        var due: [Due] = []
        func ask(_ command: CacheCommand, _ node: Int) {
            due.append(Due(index: index, command: command, pool: pool, node: node))
        }
        for effect in effects {
            switch effect {
            case .get(let node): ask(.get(key), node)
            case .reserve(let node): ask(.reserve(key), node)
            case .copy(let node): ask(.copy(key), node)
            case .store(let node, let copy, let token):
                pool?.countCopy()
                let seconds = copy.seconds ?? 1
                pool?.submit(
                    .store(key, copy.value, seconds: seconds, token),
                    node,
                    .nobody
                )
            case .release(let node): pool?.submit(.delete(key), node, .nobody)
            case .answer(let value): values[index] = value
            }
        }
        return due
    }
}
