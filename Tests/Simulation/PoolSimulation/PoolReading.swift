internal import Memcache
internal import Sharding
internal import Simulation

// Reading, by the product's own `CacheFill` and `CacheLookup`: a lease where one round trip can tell, else a look and a
// reservation; in the gutter while the key's own node does not answer.
extension PoolClient {
    private static let pauses = 4...32
    /// How long others may take to fill a key.
    private static let patience = 300

    func read(_ key: Int, _ then: @escaping () -> Void) {
        let stale: StaleValues = simulator.chance(0.5) ? .allowed : .refused
        let floor = max(
            world.settled.floor(of: key, for: stale),
            own.floor(of: key, for: stale)
        )
        let name = CacheKey(.object, String(key))
        let began = simulator.now
        var fill = CacheFill(keys: [name], stale: stale)
        func goOn() {
            lease(key) { [self] lease in
                fill.take([lease])
                if let value = fill.found[name] {
                    world.see(Int(value[0]), of: key, atLeast: floor, cached: true, by: self.name)
                    return then()
                }
                if simulator.now - began > Self.patience { fill.patienceEnded = true }
                let due = fill.takeDue()
                guard !due.isEmpty else { return simulator.step(within: Self.pauses, goOn) }
                load(key, due.reserved.first?.token) { [self] version in
                    world.see(version, of: key, atLeast: floor, cached: false, by: self.name)
                    then()
                }
            }
        }
        goOn()
    }

    /// Nobody waits for the storing.
    private func load(_ key: Int, _ token: CacheToken?, _ then: @escaping (Int) -> Void) {
        simulator.step(within: 0...80) { [self] in
            let version = world.version(of: key)
            simulator.step(within: 0...80) { [self] in
                then(version)
                guard let token else { return }
                let command: Command =
                    world.flaw == .fillsWithoutLease ? .set(version) : .store(version, token)
                if token.isInGutter, let gutter = world.gutter {
                    return send(command, key, gutter.nodes[0], gutter.generation) { _ in }
                }
                send(command, key, map.nodes[map.route(of: key)!.home], map.generation) { _ in }
            }
        }
    }

    // MARK: Leases

    private func lease(_ key: Int, _ then: @escaping (CacheLease) -> Void) {
        if isInGutter(key) { return leaseInGutter(key, then) }
        let orGutter = { [self] (lease: CacheLease) in
            // It did not answer in time: from now on others have its keys.
            if case .unavailable = lease.reservation, isInGutter(key) {
                leaseInGutter(key, then)
            } else {
                then(lease)
            }
        }
        guard map.phase == .steady else { return lookAndReserve(key, orGutter) }
        send(.lease, key, map.nodes[map.route(of: key)!.home], map.generation) { [self] reply in
            if case .lease(let lease) = reply {
                orGutter(lease)
            } else {
                lookAndReserve(key, orGutter)
            }
        }
    }

    private func leaseInGutter(_ key: Int, _ then: @escaping (CacheLease) -> Void) {
        let gutter = world.gutter!
        send(.lease, key, gutter.nodes[0], gutter.generation) { reply in
            guard case .lease(var lease) = reply else { return then(CacheLease(.unavailable)) }
            if case .owned(var token) = lease.reservation {
                token.isInGutter = true
                lease.reservation = .owned(token: token)
            }
            then(lease)
        }
    }

    private func lookAndReserve(_ key: Int, _ then: @escaping (CacheLease) -> Void) {
        look(key, Self.attempts) { [self] version in
            if let version { return then(CacheLease(.filled([UInt8(version)]))) }
            reserve(key, Self.attempts) { then(CacheLease($0)) }
        }
    }

    private func reserve(
        _ key: Int,
        _ left: Int,
        _ then: @escaping (CacheReservation) -> Void
    ) {
        let map = map
        let route = map.route(of: key)!
        guard left > 0, mayUse(map, route) else { return then(.unavailable) }
        send(.reserve, key, map.nodes[route.home], map.generation) { [self] reply in
            switch reply {
            case .reservation(let reservation): then(reservation)
            case .outdated where self.map != map: reserve(key, left - 1, then)
            default: then(.unavailable)
            }
        }
    }

    // MARK: Looking

    private func look(_ key: Int, _ left: Int, _ then: @escaping (Int?) -> Void) {
        guard left > 0 else { return then(nil) }
        let map = map
        let route = map.route(of: key)!
        guard mayUse(map, route) else {
            // Knocks at the old node, and looks again.
            return send(.get, key, map.nodes[route.holders[0]], map.generation) { [self] _ in
                guard mayUse(map, route) else { return then(nil) }
                run(CacheLookup(route), nil, key, map, left, then)
            }
        }
        run(CacheLookup(route), nil, key, map, left, then)
    }

    private func run(
        _ lookup: CacheLookup,
        _ event: CacheLookup.Event?,
        _ key: Int,
        _ map: PoolMap,
        _ left: Int,
        _ then: @escaping (Int?) -> Void
    ) {
        var lookup = lookup
        let effects = event.map { lookup.apply($0) } ?? [lookup.start]
        for effect in effects {
            let goOn = { [self] (command: Command, node: Int) in
                send(command, key, map.nodes[node], map.generation) { [self] reply in
                    switch reply {
                    case .outdated: self.map == map ? then(nil) : look(key, left - 1, then)
                    case .value(let version):
                        let bytes = version.map { [UInt8($0)] }
                        if case .copy = command {
                            let copy = bytes.map { CachedCopy(value: $0, seconds: 60) }
                            run(lookup, .copied(copy), key, map, left, then)
                        } else {
                            run(lookup, .got(bytes), key, map, left, then)
                        }
                    case .reservation(let reservation):
                        run(lookup, .reserved(reservation), key, map, left, then)
                    case .done, .lease: then(nil)
                    }
                }
            }
            switch effect {
            case .get(let node): goOn(.get, node)
            case .reserve(let node): goOn(.reserve, node)
            case .copy(let node): goOn(.copy, node)
            case .store(let node, let copy, let token):
                let command: Command =
                    world.flaw == .copiesWithoutReservation
                    ? .add(Int(copy.value[0])) : .store(Int(copy.value[0]), token)
                simulator.step(within: 0...60) { [self] in
                    send(command, key, map.nodes[node], map.generation) { _ in }
                }
            case .release(let node):
                send(.delete, key, map.nodes[node], map.generation) { _ in }
            case .answer(let value): then(value.map { Int($0[0]) })
            }
        }
    }
}
