internal import Memcache
internal import Sharding
internal import Simulation

// Commands, as a lane sends them to a node: what changes something, what is read, and the node's stamp as the last.
extension PoolClient {
    /// Sends one command and reports what a link would.
    func send(
        _ command: Command,
        _ key: Int,
        _ node: CacheNode,
        _ generation: Int64,
        _ then: @escaping (Reply) -> Void
    ) {
        let unavailable = { [self] in
            if command.leavesStale { stale.insert(node) }
            if world.gutter != nil {
                leftAlone[node] =
                    simulator.now + Int.random(in: 100...600, using: &simulator.random)
                known[node] = nil
            } else if simulator.chance(0.2) {
                known[node] = nil
            }
            then(Self.unavailable(command))
        }
        guard !isLeftAlone(node) else {
            if command.leavesStale { stale.insert(node) }
            return then(Self.unavailable(command))
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
        case .delete, .expire, .store, .add, .set: .done(false)
        case .reserve: .reservation(.unavailable)
        case .lease: .lease(CacheLease(.unavailable))
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
        let thaw = world.servers[node]!.frozenUntil
        guard thaw <= simulator.now else {
            // What was sent is carried out when the node goes on, though nobody waits so long.
            simulator.step(after: thaw - simulator.now) { [self] in
                guard world.servers[node]!.life == life else { return }
                _ = change(command, name, node)
            }
            return simulator.step(within: 20...40, unavailable)
        }
        let isOurs = change(command, name, node)
        let changed = world.servers[node]!.items[name]
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
                if case .lease = command {
                    return then(.lease(Self.lease(changed!, isOurs, incarnation)))
                }
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
        case .expire:
            guard let old else { return true }
            world.servers[node]!.items[name] = .init(
                version: old.version,
                unique: world.next(node),
                isStale: true
            )
            return true
        case .lease:
            guard let old else { return change(.reserve, name, node) }
            guard old.isStale, !old.isWon else { return false }
            world.servers[node]!.items[name]!.isWon = true
            return true
        case .set(let version):
            world.servers[node]!.items[name] = .init(version: version, unique: world.next(node))
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
        case .get, .copy: return .value(item?.isStale == true ? nil : item?.version)
        case .delete, .expire, .store, .add, .set: return .done(isOurs)
        case .lease: preconditionFailure("answered by what it found at once")
        case .reserve:
            guard let item, !item.isStale else { return .reservation(.taken) }
            if let version = item.version { return .reservation(.filled([UInt8(version)])) }
            guard isOurs else { return .reservation(.taken) }
            let token = CacheToken(unique: item.unique, incarnation: incarnation)
            return .reservation(.owned(token: token))
        }
    }

    /// The first reader of an expired value wins it.
    private static func lease(
        _ item: PoolWorld.Item,
        _ isOurs: Bool,
        _ incarnation: UInt32
    ) -> CacheLease {
        let stale = item.isStale ? item.version.map { [UInt8($0)] } : nil
        if isOurs {
            let token = CacheToken(unique: item.unique, incarnation: incarnation)
            return CacheLease(.owned(token: token), stale: stale)
        }
        guard let version = item.version, !item.isStale else {
            return CacheLease(.taken, stale: stale)
        }
        return CacheLease(.filled([UInt8(version)]))
    }

    /// Learns the node's incarnation, renews it if need be, and gives it a stamp if it has none.
    private func prepare(_ node: CacheNode, _ then: @escaping (Bool) -> Void) {
        let isStale = stale.contains(node) && world.flaw != .returnsAsItWas
        guard known[node] == nil || isStale else { return then(true) }
        let life = world.servers[node]!.life
        let old = world.servers[node]!.stamp
        simulator.step(within: 0...10) { [self] in
            guard world.servers[node]!.life == life,
                world.servers[node]!.frozenUntil <= simulator.now
            else { return then(false) }
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
        let own = world.gutter.flatMap { $0.nodes.contains(node) ? $0.generation : nil }
        let mine = own ?? map.generation
        let isNewest =
            own != nil || world.newest.generation == mine || world.flaw == .stampsUnasked
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
