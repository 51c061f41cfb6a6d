internal import Memcache
internal import Sharding
internal import Simulation

/// One process that uses the pool; what `MemcachedClient` and its parts do, step by step.
final class PoolClient {
    enum Command {
        case get, copy, delete, reserve
        case store(Int, CacheToken)
        /// What a flawed copy does.
        case add(Int)
    }

    enum Reply {
        case value(Int?)
        case done(Bool)
        case reservation(CacheReservation)
        case outdated
    }

    private static let attempts = 4

    let name: String
    private let world: PoolWorld
    private var simulator: Simulator { world.simulator }
    private(set) var map: PoolMap

    /// The incarnation by which names are made, and whether it must be renewed first.
    private var known: [CacheNode: UInt32] = [:]
    private var stale: Set<CacheNode> = []
    private var renewals: [CacheNode: Int] = [:]
    private var followed: [[CacheNode]: Int] = [:]
    private var owes = false

    /// Whatever this client has changed and was answered, gone or not: it reads nothing older itself.
    private var own: [Int: Int] = [:]

    init(_ name: String, _ world: PoolWorld, map: PoolMap) {
        self.name = name
        self.world = world
        self.map = map
    }

    func adopt(_ newer: PoolMap) {
        guard newer.generation > map.generation else { return }
        if world.flaw != .forgetsWhatItCouldNotDelete {
            for key in world.keys { distrust(map.route(of: key)!, newer, newer.route(of: key)!) }
        }
        map = newer
        if owes { stale.formUnion(newer.nodes) }
        owes = false
    }

    /// What this client could not delete where a key was may have been copied to where it is now.
    private func distrust(_ old: SlotRoute, _ newer: PoolMap, _ new: SlotRoute) {
        let home = map.nodes[old.home]
        for holder in new.holders.map({ newer.nodes[$0] }) where holder != home {
            if stale.contains(home) {
                stale.insert(holder)
            } else if followed[[home, holder]] ?? 0 != renewals[home] ?? 0 {
                stale.insert(holder)
                followed[[home, holder]] = renewals[home] ?? 0
            }
        }
    }

    // MARK: What it does

    func work(until end: Int) {
        guard simulator.now < end else { return }
        let again: () -> Void = { [self] in
            simulator.step(within: 0...60) { self.work(until: end) }
        }
        let key = world.keys.randomElement(using: &simulator.random)!
        if simulator.chance(0.3) { write(key, again) } else { read(key, again) }
    }

    private func read(_ key: Int, _ then: @escaping () -> Void) {
        let floor = max(world.settled[key] ?? 0, own[key] ?? 0)
        look(key, Self.attempts) { [self] version in
            if let version {
                world.see(version, of: key, atLeast: floor, cached: true, by: name)
                return then()
            }
            fill(key, Self.attempts) { [self] version in
                world.see(version, of: key, atLeast: floor, cached: false, by: name)
                then()
            }
        }
    }

    private func fill(_ key: Int, _ left: Int, _ then: @escaping (Int) -> Void) {
        let map = map
        let route = map.route(of: key)!
        let load = { [self] (token: CacheToken?) in
            simulator.step(within: 0...80) { [self] in
                let version = world.version(of: key)
                guard let token else { return then(version) }
                simulator.step(within: 0...80) { [self] in
                    let home = self.map.nodes[self.map.route(of: key)!.home]
                    send(.store(version, token), key, home, self.map.generation) { _ in
                        then(version)
                    }
                }
            }
        }
        guard left > 0, mayUse(map, route) else { return load(nil) }
        send(.reserve, key, map.nodes[route.home], map.generation) { [self] reply in
            switch reply {
            case .reservation(.owned(let token)): load(token)
            case .reservation(.filled(let value)): then(Int(value[0]))
            case .outdated where self.map != map: fill(key, left - 1, then)
            default: load(nil)
            }
        }
    }

    private func write(_ key: Int, _ then: @escaping () -> Void) {
        let version = world.change(key)
        simulator.step(within: 0...20) { [self] in
            delete(key, Self.attempts) { [self] isGone in
                own[key] = max(own[key] ?? 0, version)
                if isGone { world.settled[key] = max(world.settled[key] ?? 0, version) }
                then()
            }
        }
    }

    private func delete(_ key: Int, _ left: Int, _ then: @escaping (Bool) -> Void) {
        guard left > 0 else { return then(false) }
        let map = map
        var holders = map.route(of: key)!.holders.map { map.nodes[$0] }
        if world.flaw == .deletesNewFirst { holders.reverse() }
        delete(key, holders[...], map.generation) { [self] reply in
            guard case .outdated = reply else {
                if case .done(true) = reply { return then(true) }
                if self.map != map, world.flaw != .forgetsWhatItCouldNotDelete {
                    stale.formUnion(self.map.nodes)
                }
                return then(false)
            }
            // Waits for a newer map, but not for ever.
            simulator.step(within: 0...200) { [self] in
                if self.map != map { return delete(key, left - 1, then) }
                if world.flaw != .forgetsWhatItCouldNotDelete {
                    owes = true
                    stale.formUnion(map.nodes)
                }
                then(false)
            }
        }
    }

    private func delete(
        _ key: Int,
        _ holders: ArraySlice<CacheNode>,
        _ generation: Int64,
        _ then: @escaping (Reply) -> Void
    ) {
        guard let node = holders.first else { return then(.done(true)) }
        send(.delete, key, node, generation) { [self] first in
            if case .outdated = first { return then(.outdated) }
            delete(key, holders.dropFirst(), generation) { rest in
                if case .done(true) = first { return then(rest) }
                if case .outdated = rest { return then(rest) }
                then(.done(false))
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
                    case .done: then(nil)
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

    private func mayUse(_ map: PoolMap, _ route: SlotRoute) -> Bool {
        switch route {
        case .steady, .announced: return true
        case .warming(let from, let to), .settling(let from, let to):
            if world.flaw == .forgetsWhatItCouldNotDelete { return true }
            let old = map.nodes[from], new = map.nodes[to]
            guard !stale.contains(old) else { return false }
            if followed[[old, new]] ?? 0 != renewals[old] ?? 0 {
                stale.insert(new)
                followed[[old, new]] = renewals[old] ?? 0
            }
            return true
        }
    }

    // MARK: Commands

    /// Sends one command and reports what a link would.
    private func send(
        _ command: Command,
        _ key: Int,
        _ node: CacheNode,
        _ generation: Int64,
        _ then: @escaping (Reply) -> Void
    ) {
        let unavailable = { [self] in
            if case .delete = command { stale.insert(node) }
            if simulator.chance(0.2) { known[node] = nil }
            then(Self.unavailable(command))
        }
        simulator.step(within: 0...15) { [self] in
            if simulator.chance(world.loss) { return unavailable() }
            prepare(node) { [self] isReady in
                guard isReady, let incarnation = known[node] else { return unavailable() }
                attempt(
                    command,
                    key,
                    node,
                    generation,
                    incarnation,
                    Self.attempts,
                    then,
                    unavailable
                )
            }
        }
    }

    private static func unavailable(_ command: Command) -> Reply {
        switch command {
        case .get, .copy: .value(nil)
        case .delete, .store, .add: .done(false)
        case .reserve: .reservation(.unavailable)
        }
    }

    private func attempt(
        _ command: Command,
        _ key: Int,
        _ node: CacheNode,
        _ generation: Int64,
        _ incarnation: UInt32,
        _ left: Int,
        _ then: @escaping (Reply) -> Void,
        _ unavailable: @escaping () -> Void
    ) {
        let life = world.servers[node]!.life
        let name = PoolWorld.Name(incarnation: incarnation, key: key)
        let isOurs = change(command, name, node)
        simulator.step(within: 0...10) { [self] in
            guard world.servers[node]!.life == life else { return unavailable() }
            let item = world.servers[node]!.items[name]
            simulator.step(within: 0...10) { [self] in
                guard world.servers[node]!.life == life else { return unavailable() }
                if simulator.chance(world.loss) { return unavailable() }
                let stamp = world.servers[node]!.stamp
                guard let stamp else {
                    known[node] = nil
                    return unavailable()
                }
                guard stamp.incarnation == incarnation else {
                    known[node] = stamp.incarnation
                    guard left > 0 else { return unavailable() }
                    return attempt(
                        command,
                        key,
                        node,
                        generation,
                        stamp.incarnation,
                        left - 1,
                        then,
                        unavailable
                    )
                }
                guard stamp.generation <= generation else { return then(.outdated) }
                then(Self.reply(command, isOurs, item, incarnation))
            }
        }
    }

    /// What a command changes, at once; whether it did.
    private func change(_ command: Command, _ name: PoolWorld.Name, _ node: CacheNode) -> Bool {
        let old = world.servers[node]!.items[name]
        switch command {
        case .get, .copy: return false
        case .delete:
            world.servers[node]!.items[name] = nil
            return true
        case .reserve, .add:
            guard old == nil else { return false }
            var version: Int?
            if case .add(let given) = command { version = given }
            let unique = world.next(node)
            world.servers[node]!.items[name] = .init(version: version, unique: unique)
            return true
        case .store(let version, let token):
            guard token.incarnation == name.incarnation, old?.unique == token.unique else {
                return false
            }
            world.servers[node]!.items[name] = .init(version: version, unique: world.next(node))
            return true
        }
    }

    private static func reply(
        _ command: Command,
        _ isOurs: Bool,
        _ item: PoolWorld.Item?,
        _ incarnation: UInt32
    ) -> Reply {
        switch command {
        case .get, .copy: return .value(item?.version)
        case .delete, .store, .add: return .done(isOurs)
        case .reserve:
            guard let item else { return .reservation(.taken) }
            if let version = item.version { return .reservation(.filled([UInt8(version)])) }
            guard isOurs else { return .reservation(.taken) }
            let token = CacheToken(unique: item.unique, incarnation: incarnation)
            return .reservation(.owned(token: token))
        }
    }

    /// Learns the node's incarnation, renews it if need be, and gives it a stamp if it has none.
    private func prepare(_ node: CacheNode, _ then: @escaping (Bool) -> Void) {
        let isStale = stale.contains(node)
        guard known[node] == nil || isStale else { return then(true) }
        let life = world.servers[node]!.life
        let old = world.servers[node]!.stamp
        simulator.step(within: 0...10) { [self] in
            guard world.servers[node]!.life == life else { return then(false) }
            guard let old else { return initialise(node, life, then) }
            guard isStale else {
                known[node] = old.incarnation
                return then(true)
            }
            guard world.servers[node]!.stamp == old else { return then(false) }
            let new = NodeStamp(incarnation: world.drawn(), generation: old.generation)
            world.servers[node]!.stamp = new
            renewed(node, new.incarnation)
            then(true)
        }
    }

    private func initialise(_ node: CacheNode, _ life: Int, _ then: @escaping (Bool) -> Void) {
        let mine = map.generation
        let isNewest = world.newest.generation == mine || world.flaw == .stampsUnasked
        simulator.step(within: 0...30) { [self] in
            guard isNewest, world.servers[node]!.life == life else { return then(false) }
            if world.servers[node]!.stamp == nil {
                world.servers[node]!.stamp = NodeStamp(
                    incarnation: world.drawn(),
                    generation: mine
                )
            }
            renewed(node, world.servers[node]!.stamp!.incarnation)
            then(true)
        }
    }

    private func renewed(_ node: CacheNode, _ incarnation: UInt32) {
        if stale.remove(node) != nil { renewals[node, default: 0] += 1 }
        known[node] = incarnation
    }
}
