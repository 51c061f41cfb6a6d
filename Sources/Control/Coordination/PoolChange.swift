/// One step of a cache pool from one map to the next; whoever writes maps does so by compare-and-set on the generation.
///
/// Nodes come and go by `nodes` or `replace`, then `warm`, `settle` and `finish`, each when every client has the
/// map before it; `abandon` leads back, at once before the warm-up and in two steps after it has begun.
package enum PoolChange: Hashable, Sendable {
    /// Nodes join, leave (by weight 0 or by not being listed) or change their share: exactly the slots that must
    /// move are announced.
    case nodes([PoolMap.Node])
    /// One node takes all slots of another.
    case replace(CacheNodeID, with: PoolMap.Node)
    /// The new nodes take over, and are filled from the old ones.
    case warm
    /// The new nodes answer alone.
    case settle
    /// The old nodes are forgotten, and those without slots leave.
    case finish
    /// Back to the nodes from before.
    case abandon
}

extension PoolMap {
    /// The first map of a pool: slots dealt out by weight.
    package static func first(_ nodes: [Node]) throws(CodecError) -> PoolMap {
        let nodes = nodes.sorted { $0.id < $1.id }
        let shares = try shares(of: nodes)
        let slots = zip(nodes, shares).flatMap { node, share in
            Array(repeating: Slot(node: node.id), count: share)
        }
        return try PoolMap(generation: 1, nodes: nodes, slots: slots)
    }

    /// The map after the change; refuses a change that does not fit the present phase.
    package func applying(_ change: PoolChange) throws(CodecError) -> PoolMap {
        switch (change, phase) {
        case (.nodes(let wanted), .steady): return try announcing(wanted)
        case (.replace(let old, let new), .steady): return try replacing(old, with: new)
        case (.warm, .announced): return try next(slots.map { $0.turned(.warming) })
        case (.settle, .warming): return try next(slots.map { $0.at(.settling) })
        case (.finish, .settling), (.abandon, .announced): return try settled()
        case (.abandon, .warming), (.abandon, .settling):
            // Sets went to the new nodes alone, deletes to both, so the old ones hold nothing stale.
            return try next(slots.map { $0.turned(.announced) })
        default: throw CodecError("a pool that is \(phase) cannot \(change.verb)")
        }
    }

    private func announcing(_ wanted: [Node]) throws(CodecError) -> PoolMap {
        let listed = Set(wanted.map(\.id))
        guard listed.count == wanted.count else { throw CodecError("a node is listed twice") }
        let leaving = nodes.filter { !listed.contains($0.id) }.map { node in
            var node = node
            node.weight = 0
            return node
        }
        let all = (wanted + leaving).sorted { $0.id < $1.id }
        let shares = try Self.shares(of: all)
        var held: [CacheNodeID: [Int]] = [:]
        for (number, slot) in slots.enumerated() { held[slot.node, default: []].append(number) }

        // The surplus of those which have too many goes to those which have too few; nothing else moves.
        var free: [Int] = []
        var room: [(node: CacheNodeID, count: Int)] = []
        for (node, share) in zip(all, shares) {
            let has = held[node.id] ?? []
            if has.count > share { free.append(contentsOf: has[share...]) }
            if has.count < share { room.append((node.id, share - has.count)) }
        }
        guard !free.isEmpty else { throw CodecError("no slot would change its node") }
        free.sort()
        var slots = slots
        for (node, count) in room {
            for number in free.prefix(count) {
                slots[number] = Slot(node: slots[number].node, other: node, phase: .announced)
            }
            free.removeFirst(count)
        }
        return try PoolMap(generation: generation + 1, nodes: all, slots: slots)
    }

    private func replacing(_ old: CacheNodeID, with new: Node) throws(CodecError) -> PoolMap {
        guard node(old) != nil, node(new.id) == nil else {
            throw CodecError("\(old) is no node of the pool, or \(new.id) is one already")
        }
        let announced = slots.map { slot in
            slot.node == old ? Slot(node: old, other: new.id, phase: .announced) : slot
        }
        var nodes = nodes + [new]
        nodes[nodes.firstIndex { $0.id == old }!].weight = 0
        return try PoolMap(generation: generation + 1, nodes: nodes, slots: announced)
    }

    private func settled() throws(CodecError) -> PoolMap {
        let slots = slots.map { Slot(node: $0.node) }
        let used = Set(slots.map(\.node))
        return try PoolMap(
            generation: generation + 1,
            nodes: nodes.filter { used.contains($0.id) },
            slots: slots
        )
    }

    private func next(_ slots: [Slot]) throws(CodecError) -> PoolMap {
        try PoolMap(generation: generation + 1, nodes: nodes, slots: slots)
    }

    /// Whole shares by largest remainder; ties go to the smaller name.
    private static func shares(of nodes: [Node]) throws(CodecError) -> [Int] {
        let total = nodes.reduce(0) { $0 + $1.weight }
        guard total > 0 else { throw CodecError("no node takes slots") }
        var shares = nodes.map { slotCount * $0.weight / total }
        let byRemainder = nodes.indices.sorted {
            let a = slotCount * nodes[$0].weight % total, b = slotCount * nodes[$1].weight % total
            return a == b ? nodes[$0].id < nodes[$1].id : a > b
        }
        for index in byRemainder.prefix(slotCount - shares.reduce(0, +)) { shares[index] += 1 }
        return shares
    }
}

extension PoolMap.Slot {
    /// The two nodes change their parts.
    fileprivate func turned(_ phase: PoolMap.Phase) -> Self {
        guard let other else { return self }
        return Self(node: other, other: node, phase: phase)
    }

    fileprivate func at(_ phase: PoolMap.Phase) -> Self {
        other == nil ? self : Self(node: node, other: other, phase: phase)
    }
}

extension PoolChange {
    /// What an operator calls it.
    package var verb: String {
        switch self {
        case .nodes: "change its nodes"
        case .replace: "replace a node"
        case .warm: "warm up"
        case .settle: "settle"
        case .finish: "finish"
        case .abandon: "be abandoned"
        }
    }
}
