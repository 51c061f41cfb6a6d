import EventLoops
import Sharding

// Reading and filling: by the key's own node, or by the gutter while that does not answer.

extension MemcachedClient {
    /// The name by which a key is read and filled now.
    private func place(of key: CacheKey) -> CacheKey {
        guard let pool = pools[key.pool], !pool.answers(key), hasGutter(for: key) else {
            return key
        }
        return key.inGutter
    }

    /// Whether a key has a second place.
    func hasGutter(for key: CacheKey) -> Bool {
        key.pool != .gutter && pools[.gutter]?.lanes.isEmpty == false
    }

    // MARK: Looking

    package func get(_ key: CacheKey) async -> [UInt8]? {
        let key = place(of: key)
        guard let pool = pool(of: key) else { return nil }
        if pool.isSteady {
            let reply = await ask(.get(key), pool, pool.home(of: key))
            if case .value(let value) = reply { return value }
        }
        return await look([key])[0]
    }

    package func get(_ keys: [CacheKey]) async -> [CacheKey: [UInt8]] {
        var found: [CacheKey: [UInt8]] = [:]
        for (key, value) in zip(keys, await values(of: keys.map { place(of: $0) })) {
            found[key] = value
        }
        return found
    }

    private func values(of places: [CacheKey]) async -> [[UInt8]?] {
        guard places.allSatisfy({ pools[$0.pool]?.isSteady ?? true }) else {
            return await look(places)
        }
        var values = [[UInt8]?](repeating: nil, count: places.count)
        var open: [Int] = []
        for (index, reply) in await gather(places.map { askHome(.get($0)) }).enumerated() {
            if case .value(let value) = reply { values[index] = value } else { open.append(index) }
        }
        guard !open.isEmpty else { return values }
        for (index, value) in zip(open, await look(open.map { places[$0] })) {
            values[index] = value
        }
        return values
    }

    private func askHome(_ command: CacheCommand) -> Ask {
        let pool = pool(of: command.key)
        return Ask(command, pool, pool?.home(of: command.key) ?? 0)
    }

    // MARK: Reserving

    package func lease(_ key: CacheKey) async -> CacheLease {
        let first = place(of: key)
        let lease = await lease(at: first)
        guard case .unavailable = lease.reservation, first.pool == key.pool else { return lease }
        // It did not answer in time: from now on others have its keys.
        let second = place(of: key)
        return second.pool == key.pool ? lease : await self.lease(at: second)
    }

    private func lease(at place: CacheKey) async -> CacheLease {
        guard let pool = pool(of: place) else { return CacheLease(.unavailable) }
        if pool.isSteady, settings.transport == .meta {
            let reply = await ask(.lease(place), pool, pool.home(of: place))
            if case .lease(let lease) = reply { return lease.placed(at: place) }
        }
        return await leases(at: [place], lookingFirst: true)[0]
    }

    package func lease(_ keys: [CacheKey]) async -> [CacheLease] {
        var places = keys.map { place(of: $0) }
        var leases = await leases(at: places)
        var moved: [Int] = []
        for (index, lease) in leases.enumerated() {
            guard case .unavailable = lease.reservation, places[index].pool == keys[index].pool
            else { continue }
            places[index] = place(of: keys[index])
            if places[index].pool != keys[index].pool { moved.append(index) }
        }
        guard !moved.isEmpty else { return leases }
        for (index, lease) in zip(moved, await self.leases(at: moved.map { places[$0] })) {
            leases[index] = lease
        }
        return leases
    }

    /// With one round trip where the protocol can and no slot is moving; else a look first.
    private func leases(
        at places: [CacheKey],
        lookingFirst: Bool = false
    ) async -> [CacheLease] {
        var leases = places.map { _ in CacheLease(.unavailable) }
        var open = Array(places.indices)
        if !lookingFirst, settings.transport == .meta,
            places.allSatisfy({ pools[$0.pool]?.isSteady ?? true })
        {
            open = []
            for (index, reply) in await gather(places.map { askHome(.lease($0)) }).enumerated() {
                if case .lease(let lease) = reply {
                    leases[index] = lease.placed(at: places[index])
                } else {
                    open.append(index)
                }
            }
        }
        guard !open.isEmpty else { return leases }
        let found = await values(of: open.map { places[$0] })
        var missing: [Int] = []
        for (index, value) in zip(open, found) {
            if let value {
                leases[index] = CacheLease(.filled(value))
            } else {
                missing.append(index)
            }
        }
        for (index, reservation) in zip(missing, await reserve(at: missing.map { places[$0] })) {
            leases[index] = CacheLease(reservation).placed(at: places[index])
        }
        return leases
    }

    package func reserve(_ key: CacheKey) async -> CacheReservation {
        let place = place(of: key)
        return CacheLease(await reserve(at: [place])[0]).placed(at: place).reservation
    }

    private func reserve(at places: [CacheKey]) async -> [CacheReservation] {
        var reservations = [CacheReservation](repeating: .unavailable, count: places.count)
        var open = Array(places.indices)
        for _ in 0..<Self.attempts {
            let asked = open.map { pool(of: places[$0]) }
            let replies = await gather(
                zip(open, asked).map { index, pool in
                    guard let pool else { return Ask(.reserve(places[index]), nil, 0) }
                    let route = pool.route(of: places[index])
                    let usable = pool.mayUse(route) ? pool : nil
                    return Ask(.reserve(places[index]), usable, route.home)
                }
            )
            var again: [Int] = []
            for (at, reply) in replies.enumerated() {
                if case .reservation(let reservation) = reply {
                    reservations[open[at]] = reservation
                } else if pools[places[open[at]].pool] !== asked[at] {
                    again.append(open[at])
                }
            }
            open = again
            if open.isEmpty { break }
        }
        return reservations
    }

    // MARK: Filling

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
        let place = token.place(of: key)
        guard let pool = pool(of: place) else { return false }
        // A node of another map has another incarnation than the token.
        let store = CacheCommand.store(place, value, seconds: token.seconds(ttl), token)
        let isStored = await ask(store, pool, pool.home(of: place)).isDone
        board.wake(key)
        return isStored
    }

    package func settle(_ filled: [CacheFilling], ttl: Duration) {
        loop.assertOnLoop()
        for filling in filled {
            let place = filling.token.place(of: filling.key)
            let waiter = CacheWaiter.call { [board] _ in board.wake(filling.key) }
            guard let pool = pool(of: place) else {
                waiter.resume(.done(false))
                continue
            }
            let node = pool.home(of: place)
            guard let value = filling.value, value.count <= CacheLimits.valueBytes else {
                pool.submit(.delete(place), node, waiter)
                continue
            }
            let seconds = filling.token.seconds(ttl)
            pool.submit(.store(place, value, seconds: seconds, filling.token), node, waiter)
        }
    }
}

extension CacheLease {
    /// With a token that says where its marker is.
    fileprivate func placed(at place: CacheKey) -> CacheLease {
        guard place.pool == .gutter, case .owned(var token) = reservation else { return self }
        token.isInGutter = true
        return CacheLease(.owned(token: token), stale: stale)
    }
}

extension CacheToken {
    fileprivate func place(of key: CacheKey) -> CacheKey { isInGutter ? key.inGutter : key }

    fileprivate func seconds(_ ttl: Duration) -> Int {
        (isInGutter ? min(ttl, CacheLimits.gutterTime) : ttl).cacheSeconds
    }
}
