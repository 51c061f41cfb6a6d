internal import Memcache
internal import Sharding
internal import Simulation

/// One process that uses the pool; what `MemcachedClient` and its parts do, step by step.
final class PoolClient {
    enum Command {
        case get, copy, delete, expire, reserve, lease
        case store(Int, CacheToken)
        /// What a flawed copy does.
        case add(Int)
        /// What a flawed fill does.
        case set(Int)

        /// Whether the node may hold something that must not be read, if this was not carried out.
        var leavesStale: Bool {
            switch self {
            case .delete, .expire: true
            case .get, .copy, .reserve, .lease, .store, .add, .set: false
            }
        }
    }

    enum Reply {
        case value(Int?)
        case done(Bool)
        case reservation(CacheReservation)
        case lease(CacheLease)
        case outdated
    }

    static let attempts = 4

    let name: String
    let world: PoolWorld
    var simulator: Simulator { world.simulator }
    private(set) var map: PoolMap

    /// The incarnation by which names are made, and whether it must be renewed first.
    var known: [CacheNode: UInt32] = [:]
    var stale: Set<CacheNode> = []
    var renewals: [CacheNode: Int] = [:]
    private var followed: [[CacheNode]: Int] = [:]
    private var owes = false
    /// Until when a node is left alone that did not answer; only where there is a gutter.
    var leftAlone: [CacheNode: Int] = [:]

    /// Whatever this client has changed and was answered, gone or not: it reads nothing older itself.
    private(set) var own = PoolWorld.Settled()

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

    private func write(_ key: Int, _ then: @escaping () -> Void) {
        let version = world.change(key)
        let expires = simulator.chance(0.4)
        simulator.step(within: 0...20) { [self] in
            remove(key, expires: expires) { [self] isGone in
                own.note(version, of: key, expired: expires)
                if isGone { world.settled.note(version, of: key, expired: expires) }
                then()
            }
        }
    }

    /// Wherever the key may be read: in its pool and in the gutter, by whomever.
    private func remove(_ key: Int, expires: Bool, _ then: @escaping (Bool) -> Void) {
        let inPool = { [self] (done: @escaping (Bool) -> Void) in
            delete(key, expires || world.flaw == .expiresWhatIsDeleted, Self.attempts, done)
        }
        guard let gutter = world.gutter else { return inPool(then) }
        let inGutter = { [self] (done: @escaping (Bool) -> Void) in
            send(.delete, key, gutter.nodes[0], gutter.generation) { reply in
                if case .done(true) = reply { done(true) } else { done(false) }
            }
        }
        if world.flaw == .deletesWhereItReads {
            return isInGutter(key) ? inGutter(then) : inPool(then)
        }
        // In no order, as both are sent at once.
        let (first, second) = simulator.chance(0.5) ? (inPool, inGutter) : (inGutter, inPool)
        first { isGone in second { then($0 && isGone) } }
    }

    private func delete(
        _ key: Int,
        _ expires: Bool,
        _ left: Int,
        _ then: @escaping (Bool) -> Void
    ) {
        guard left > 0 else { return then(false) }
        let map = map
        var holders = map.route(of: key)!.holders.map { map.nodes[$0] }
        if world.flaw == .deletesNewFirst { holders.reverse() }
        let home = map.nodes[map.route(of: key)!.home]
        delete(key, expires ? home : nil, holders[...], map.generation) { [self] reply in
            guard case .outdated = reply else {
                if case .done(true) = reply { return then(true) }
                if self.map != map, world.flaw != .forgetsWhatItCouldNotDelete {
                    stale.formUnion(self.map.nodes)
                }
                return then(false)
            }
            // Waits for a newer map, but not for ever.
            simulator.step(within: 0...200) { [self] in
                if self.map != map { return delete(key, expires, left - 1, then) }
                if world.flaw != .forgetsWhatItCouldNotDelete {
                    owes = true
                    stale.formUnion(map.nodes)
                }
                then(false)
            }
        }
    }

    /// Expires at `home`, where it is read, if that is given.
    private func delete(
        _ key: Int,
        _ home: CacheNode?,
        _ holders: ArraySlice<CacheNode>,
        _ generation: Int64,
        _ then: @escaping (Reply) -> Void
    ) {
        guard let node = holders.first else { return then(.done(true)) }
        send(node == home ? .expire : .delete, key, node, generation) { [self] first in
            if case .outdated = first { return then(.outdated) }
            delete(key, home, holders.dropFirst(), generation) { rest in
                if case .done(true) = first { return then(rest) }
                if case .outdated = rest { return then(rest) }
                then(.done(false))
            }
        }
    }

    // MARK: Where a key is

    /// Whether a key is read and filled in the gutter now: a node of its own does not answer.
    func isInGutter(_ key: Int) -> Bool {
        guard world.gutter != nil else { return false }
        let nodes: [Int] =
            switch map.route(of: key)! {
            case .steady(let home), .announced(let home, _): [home]
            case .warming(let from, let to), .settling(let from, let to): [from, to]
            }
        return nodes.contains { isLeftAlone(map.nodes[$0]) }
    }

    func isLeftAlone(_ node: CacheNode) -> Bool { leftAlone[node] ?? 0 > simulator.now }

    func mayUse(_ map: PoolMap, _ route: SlotRoute) -> Bool {
        switch route {
        case .steady, .announced: return true
        case .warming(let from, let to), .settling(let from, let to):
            if world.flaw == .forgetsWhatItCouldNotDelete { return true }
            let old = map.nodes[from], new = map.nodes[to]
            guard !stale.contains(old), !isLeftAlone(old) else { return false }
            if followed[[old, new]] ?? 0 != renewals[old] ?? 0 {
                stale.insert(new)
                followed[[old, new]] = renewals[old] ?? 0
            }
            return true
        }
    }
}
