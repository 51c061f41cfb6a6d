/// The address of one memcached.
package struct CacheNode: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let host: String
    package let port: UInt16

    package init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// Reads `host:port`.
    package init?(_ text: some StringProtocol) {
        guard let colon = text.lastIndex(of: ":"), colon > text.startIndex,
            let port = UInt16(text[text.index(after: colon)...]), port > 0,
            text[..<colon].utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        else { return nil }
        self.init(host: String(text[..<colon]), port: port)
    }

    package var description: String { "\(host):\(port)" }

    package static func < (a: CacheNode, b: CacheNode) -> Bool {
        (a.host, a.port) < (b.host, b.port)
    }
}

package struct PoolMapError: Error, Equatable, CustomStringConvertible {
    package let description: String

    init(_ description: String) { self.description = description }
}

/// Which memcached of a pool holds each of the 1,024 slots, and how far the slots are that change their node.
///
/// A slot changes its node in steps which every process may learn of late: all that stands at a phase works
/// beside whoever is one phase behind or ahead, and the stamps on the nodes (``stampsDue``) keep off whoever is
/// further behind. What each phase means to readers and writers is ``SlotRoute``.
package struct PoolMap: Sendable, Equatable {
    package static let slotCount = 1024

    package enum Phase: String, Sendable, CaseIterable {
        /// Each slot has one node.
        case steady
        /// The new node is known: what is deleted is deleted there too, and nothing else happens there.
        case announced
        /// The new node is read and filled, and asks the old one for what it lacks.
        case warming
        /// The old node is read no more, but still deleted from for those who warm.
        case settling
    }

    /// Grows with each change; 0 is the map that the settings draw, which is stored nowhere.
    package let generation: Int64
    package let phase: Phase

    /// In order; each has a slot, or is being left by one.
    package let nodes: [CacheNode]

    /// For each slot the index of the node that has it or gets it; empty when there is no node.
    package let owners: [UInt16]

    /// For each slot the index of the node that it is leaving; its owner's where it stays.
    package let sources: [UInt16]

    /// Where each slot goes, and which node it is leaving meanwhile, if any.
    package typealias Place = (owner: CacheNode, source: CacheNode?)

    package init(generation: Int64, phase: Phase, places: [Place]) throws(PoolMapError) {
        guard places.count == Self.slotCount || places.isEmpty && phase == .steady else {
            throw PoolMapError("\(places.count) slots instead of \(Self.slotCount)")
        }
        guard generation >= 0 else { throw PoolMapError("the generation is negative") }
        let moving = places.contains { $0.source != nil && $0.source != $0.owner }
        guard moving == (phase != .steady) else {
            throw PoolMapError(moving ? "a steady slot leaves a node" : "no slot moves")
        }
        self.init(generation, phase, places)
    }

    /// For places that are known to fit.
    private init(_ generation: Int64, _ phase: Phase, _ places: [Place]) {
        self.generation = generation
        self.phase = phase
        let nodes = Set(places.flatMap { [$0.owner, $0.source ?? $0.owner] }).sorted()
        let indices = Dictionary(
            uniqueKeysWithValues: nodes.enumerated().map { ($1, UInt16($0)) }
        )
        self.nodes = nodes
        owners = places.map { indices[$0.owner]! }
        sources = places.map { indices[$0.source ?? $0.owner]! }
    }

    /// The map in which each slot belongs to the node that draws the highest number for it: what a process
    /// uses until the pool has a stored map.
    package init(nodes: [CacheNode], generation: Int64 = 0) {
        guard !nodes.isEmpty else {
            self.init(generation, .steady, [])
            return
        }
        let seeds = nodes.map { node in
            node.description.utf8.reduce(0xCBF2_9CE4_8422_2325 as UInt64) {
                ($0 ^ UInt64($1)) &* 0x100_0000_01B3
            }
        }
        let places = (0..<Self.slotCount).map { slot -> Place in
            var best = 0
            var highest: UInt64 = 0
            for (index, seed) in seeds.enumerated() {
                let drawn = Self.mix(seed ^ UInt64(slot) &* 0x9E37_79B9_7F4A_7C15)
                if index == 0 || drawn > highest { (best, highest) = (index, drawn) }
            }
            return (nodes[best], nil)
        }
        self.init(generation, .steady, places)
    }

    /// The finaliser of splitmix64.
    private static func mix(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    // MARK: Reading

    /// What to do with a key of `slot`; nil when the pool is empty.
    package func route(of slot: Int) -> SlotRoute? {
        guard !owners.isEmpty else { return nil }
        let owner = Int(owners[slot])
        let source = Int(sources[slot])
        guard owner != source else { return .steady(owner) }
        switch phase {
        case .steady: return .steady(owner)
        case .announced: return .announced(from: source, to: owner)
        case .warming: return .warming(from: source, to: owner)
        case .settling: return .settling(from: source, to: owner)
        }
    }

    /// The slots that are leaving a node.
    package var moving: [Int] { owners.indices.filter { owners[$0] != sources[$0] } }

    /// How many slots each node has or gets.
    package var counts: [CacheNode: Int] {
        var counts: [CacheNode: Int] = [:]
        for node in nodes { counts[node] = 0 }
        for owner in owners { counts[nodes[Int(owner)], default: 0] += 1 }
        return counts
    }

    /// The nodes that must say this generation before the next phase may begin, or the one before again.
    ///
    /// A client whose map is older than a node's stamp is told so by each answer, so that afterwards nobody
    /// uses them who does not know the other node, or still reads what is not deleted any more.
    package var stampsDue: [CacheNode] {
        switch phase {
        case .steady, .warming: []
        case .announced, .settling:
            Set(
                places.filter { $0.source != nil }.flatMap {
                    [$0.owner, $0.source!]
                }
            ).sorted()
        }
    }

    // MARK: Changing

    var places: [Place] {
        owners.indices.map { slot in
            let owner = nodes[Int(owners[slot])]
            let source = nodes[Int(sources[slot])]
            return (owner, source == owner ? nil : source)
        }
    }

    /// One node more takes its share, slot by slot from the node that has most at the time.
    package func adding(_ node: CacheNode) throws(PoolMapError) -> PoolMap {
        try requireSteady()
        guard !nodes.contains(node) else { throw PoolMapError("\(node) is in the pool already") }
        var places = self.places
        guard !places.isEmpty else {
            return PoolMap(generation + 1, .steady, PoolMap(nodes: [node]).places)
        }
        var held: [CacheNode: [Int]] = [:]
        for slot in places.indices.reversed() { held[places[slot].owner, default: []].append(slot) }
        for _ in 0..<(Self.slotCount / (nodes.count + 1)) {
            // Equal ones in order, so that the same map gives the same plan.
            let fullest = nodes.max { (held[$0]!.count, $1) < (held[$1]!.count, $0) }!
            let slot = held[fullest]!.removeLast()
            places[slot] = (node, fullest)
        }
        return PoolMap(generation + 1, .announced, places)
    }

    /// A node's slots go, one by one, to the node that has fewest at the time.
    package func removing(_ node: CacheNode) throws(PoolMapError) -> PoolMap {
        try requireSteady()
        return PoolMap(generation + 1, .announced, try spreading(node))
    }

    /// All slots of one node go to a new one.
    package func replacing(
        _ old: CacheNode,
        with new: CacheNode
    ) throws(PoolMapError) -> PoolMap {
        try requireSteady()
        guard nodes.contains(old) else { throw PoolMapError("\(old) is not in the pool") }
        guard !nodes.contains(new) else { throw PoolMapError("\(new) is in the pool already") }
        let places = self.places.map { $0.owner == old ? (new, old) : $0 }
        return PoolMap(generation + 1, .announced, places)
    }

    /// The next phase of the change under way. `warm` false leaves the warming out: for a pool whose values
    /// live shorter than it would take, and must not live longer.
    package func advancing(warm: Bool = true) -> PoolMap {
        switch phase {
        case .steady: self
        case .announced: PoolMap(generation + 1, warm ? .warming : .settling, places)
        case .warming: PoolMap(generation + 1, .settling, places)
        case .settling: PoolMap(generation + 1, .steady, places.map { ($0.owner, nil) })
        }
    }

    /// One step back: from *warming* and *settling* to *announced*, from there to the nodes of before.
    ///
    /// What was put on the new nodes was deleted from the old ones first, so those hold nothing stale.
    package func abandoning() -> PoolMap {
        switch phase {
        case .steady: self
        case .announced:
            PoolMap(generation + 1, .steady, places.map { ($0.source ?? $0.owner, nil) })
        case .warming, .settling: PoolMap(generation + 1, .announced, places)
        }
    }

    /// Without a node whose process has ended for good: at any phase, and with nothing left to warm from it.
    ///
    /// What was leaving it has left; what was coming to it stays where it was; what it had goes to
    /// `replacement`, or else to the others, emptiest first.
    package func losing(
        _ node: CacheNode,
        replacement: CacheNode? = nil
    ) throws(PoolMapError) -> PoolMap {
        guard nodes.contains(node) else { throw PoolMapError("\(node) is not in the pool") }
        if let replacement, nodes.contains(replacement) {
            throw PoolMapError("\(replacement) is in the pool already")
        }
        var places = self.places
        if let replacement {
            for slot in places.indices where places[slot] == (node, nil) {
                places[slot] = (replacement, nil)
            }
        } else if counts[node]! > 0 {
            places = try spreading(node)
        }
        for (slot, place) in places.enumerated() {
            if place.source == node { places[slot] = (place.owner, nil) }
            if place.owner == node, let source = place.source { places[slot] = (source, nil) }
        }
        let moves = places.contains { $0.source != nil }
        return PoolMap(generation + 1, moves ? phase : .steady, places)
    }

    /// The places with `node` as source of what it had, at new owners.
    private func spreading(_ node: CacheNode) throws(PoolMapError) -> [Place] {
        guard nodes.contains(node) else { throw PoolMapError("\(node) is not in the pool") }
        var counts = self.counts
        counts[node] = nil
        // A node that is only being left takes nothing new.
        for (other, count) in counts where count == 0 { counts[other] = nil }
        guard !counts.isEmpty else { throw PoolMapError("\(node) is the pool's last node") }
        var places = self.places
        for slot in places.indices where places[slot].owner == node && places[slot].source == nil {
            let emptiest = counts.min { ($0.value, $0.key) < ($1.value, $1.key) }!.key
            counts[emptiest]! += 1
            places[slot] = (emptiest, node)
        }
        return places
    }

    private func requireSteady() throws(PoolMapError) {
        guard phase == .steady else {
            throw PoolMapError("a change is under way (\(phase.rawValue)): finish it first")
        }
    }
}

/// What is done with the keys of one slot; nodes are indices into ``PoolMap/nodes``.
package enum SlotRoute: Sendable, Hashable {
    case steady(Int)
    /// Read and filled at `from`; deleted at both.
    case announced(from: Int, to: Int)
    /// Read and filled at `to`, which is filled from `from` as well; deleted at both.
    case warming(from: Int, to: Int)
    /// Read and filled at `to`; deleted at both.
    case settling(from: Int, to: Int)

    /// Where it is read and filled.
    package var home: Int {
        switch self {
        case .steady(let node): node
        case .announced(let from, _): from
        case .warming(_, let to), .settling(_, let to): to
        }
    }

    /// Where it is deleted, one after the other in this order.
    ///
    /// The node being left comes first: a copy that read there before the deletion has its marker on the new
    /// node by then, and the second deletion takes the marker or the copy away. In the other order a copy could
    /// be made between the two.
    package var holders: [Int] {
        switch self {
        case .steady(let node): [node]
        case .announced(let from, let to), .warming(let from, let to), .settling(let from, let to):
            [from, to]
        }
    }
}
