internal import Memcache
internal import Sharding
internal import Simulation

/// A pool whose nodes change while clients read, fill and delete through it, each by the map that it happens to have.
///
/// Every command takes three steps, as `MemcachedLink` sends it: what changes something, what is read, and the stamp
/// as the last key; a lease is found and won in one. Between any two anything may happen: other commands, a restart, a
/// newer map, a stamp. A node that is stopped carries out later what it was sent. Where there is a gutter, a client
/// that gets no answer from a node takes to it for a while, each client by itself. Fills and readings are the
/// product's own `CacheFill` and `CacheLookup`, and the maps come from `PoolMap`.
final class PoolWorld {
    struct Name: Hashable {
        var incarnation: UInt32
        var key: Int
    }

    struct Item {
        /// Nil for a marker.
        var version: Int?
        var unique: UInt64
        /// Expired: for those who allow it, while the one who has won it loads.
        var isStale = false
        var isWon = false
    }

    /// The newest versions of keys that are surely gone or expired, by kind of removal.
    struct Settled {
        private var deleted: [Int: Int] = [:]
        private var expired: [Int: Int] = [:]

        mutating func note(_ version: Int, of key: Int, expired isExpired: Bool) {
            if isExpired {
                expired[key] = max(expired[key] ?? 0, version)
            } else {
                deleted[key] = max(deleted[key] ?? 0, version)
            }
        }

        /// What a reader may not fall behind; what is merely expired may be read by who allows it.
        func floor(of key: Int, for stale: StaleValues) -> Int {
            let floor = deleted[key] ?? 0
            return stale == .allowed ? floor : max(floor, expired[key] ?? 0)
        }
    }

    struct Server {
        /// Counts restarts: a connection does not outlive one.
        var life = 0
        var stamp: NodeStamp?
        var items: [Name: Item] = [:]
        var unique: UInt64 = 0
        /// Stopped until then: it keeps what it has, and answers late.
        var frozenUntil = 0
    }

    let simulator: Simulator
    let flaw: PoolFlaw?
    /// Slots, which stand for their keys.
    let keys: [Int]
    /// How often a command is lost on its way, or its answer is.
    let loss: Double
    var servers: [CacheNode: Server] = [:]
    /// The map in etcd.
    var newest: PoolMap

    private(set) var truth: [Int: Int] = [:]
    /// What was removed and answered with "gone".
    var settled = Settled()
    /// Stands in for nodes that do not answer.
    let gutter: PoolMap?
    private(set) var wrong: [String] = []
    private(set) var answered = 0
    private(set) var cached = 0

    init(
        _ simulator: Simulator,
        map: PoolMap,
        gutter: PoolMap?,
        keys: [Int],
        loss: Double,
        flaw: PoolFlaw?
    ) {
        self.simulator = simulator
        self.flaw = flaw
        self.keys = keys
        self.loss = loss
        self.gutter = gutter
        newest = map
        for node in map.nodes + (gutter?.nodes ?? []) { servers[node] = Server() }
    }

    /// The change of a key in the truth.
    func change(_ key: Int) -> Int {
        truth[key, default: 0] += 1
        return truth[key]!
    }

    func version(of key: Int) -> Int { truth[key] ?? 0 }

    func see(_ version: Int, of key: Int, atLeast floor: Int, cached isCached: Bool, by who: String)
    {
        answered += 1
        if isCached { cached += 1 }
        if version < floor {
            wrong.append("\(who) read \(version) of \(key) after \(floor) at \(simulator.now)")
        }
    }

    func restart(_ node: CacheNode) {
        servers[node]?.life += 1
        servers[node]?.stamp = nil
        servers[node]?.items = [:]
        servers[node]?.unique = 0
        servers[node]?.frozenUntil = 0
    }

    func freeze(_ node: CacheNode, for time: Int) {
        servers[node]?.frozenUntil = simulator.now + time
    }

    func next(_ node: CacheNode) -> UInt64 {
        servers[node]!.unique += 1
        return servers[node]!.unique
    }

    // MARK: Who changes the pool

    /// Publishes one map after the other, with the stamps that are due in between.
    func drive(_ course: ArraySlice<PoolMap>) {
        guard var map = course.first else { return }
        var rest = course.dropFirst()
        if flaw == .skipsAnnouncing, map.phase == .announced, let warming = rest.first {
            map = warming
            rest = rest.dropFirst()
        }
        for node in map.nodes where servers[node] == nil { servers[node] = Server() }
        newest = map
        simulator.step(within: 0...700) { [self] in
            stamp(map.stampsDue[...], map.generation) { [self] in
                simulator.step(within: 0...700) { self.drive(rest) }
            }
        }
    }

    private func stamp(
        _ nodes: ArraySlice<CacheNode>,
        _ generation: Int64,
        _ then: @escaping () -> Void
    ) {
        guard let node = nodes.first, flaw != .neverStamps else { return then() }
        let old = servers[node]!.stamp
        simulator.step(within: 0...20) { [self] in
            // A compare-and-set: with another stamp than it has read it begins anew.
            guard servers[node]!.stamp == old else { return stamp(nodes, generation, then) }
            let incarnation = old?.incarnation ?? drawn()
            servers[node]!.stamp = NodeStamp(
                incarnation: incarnation,
                generation: max(generation, old?.generation ?? 0)
            )
            simulator.step(within: 0...20) { self.stamp(nodes.dropFirst(), generation, then) }
        }
    }

    func drawn() -> UInt32 { UInt32.random(in: 1...UInt32.max, using: &simulator.random) }
}

/// A rule of decisions 2, 15 or 17 that is left out; the checkers must catch every one.
package enum PoolFlaw: String, CaseIterable, Sendable {
    /// A deletion goes to the new node first.
    case deletesNewFirst
    /// A copy is added where nothing is, without a reservation made before it was read.
    case copiesWithoutReservation
    /// The new node is read at once, while others do not delete there yet.
    case skipsAnnouncing
    /// Phases follow one another without stamps on the nodes that are left.
    case neverStamps
    /// A node without a stamp gets one from whoever finds it.
    case stampsUnasked
    /// What one client could not delete on the old node it may read on the new one.
    case forgetsWhatItCouldNotDelete
    /// What a fill has loaded is put whatever happened meanwhile.
    case fillsWithoutLease
    /// A deletion leaves the value to those who allow expired ones.
    case expiresWhatIsDeleted
    /// A deletion goes to the pool or to the gutter, whichever this client reads now.
    case deletesWhereItReads
    /// A node that did not take a deletion is read again under the same incarnation.
    case returnsAsItWas
}
