internal import Sharding

/// The name of one node of a cache pool, such as `c1`.
package struct CacheNodeID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let name: String

    /// Takes 1 to 32 of `a-z`, `0-9` and `-`, starting with a letter.
    package init?(_ name: String) {
        // The same rule as for shards.
        guard ShardID(name) != nil else { return nil }
        self.name = name
    }

    package var description: String { name }

    package static func < (a: Self, b: Self) -> Bool { a.name < b.name }
}

/// Which node of a cache pool holds each slot, at one generation.
///
/// A slot changes its node in four phases, each a generation of its own, so that clients which are one generation
/// apart never leave a stale value behind. What makes it right, besides the table at ``Phase``:
///
/// - A delete goes to the node that had the slot *before* first, then to the one that has it after.
/// - Who copies a value reserves the key on the new node *before* reading the old one, and stores by that reservation
///   alone: a delete that the old node saw too late for the reader then still breaks the reservation.
/// - The next phase begins only when every client is known to have the present one.
package struct PoolMap: Hashable, Sendable {
    package static let slotCount = 1_024

    package struct Node: Hashable, Sendable {
        package var id: CacheNodeID
        package var host: String
        package var port: Int
        /// Share of the slots, relative to the other nodes'; 0 takes none.
        package var weight: Int

        package init(id: CacheNodeID, host: String, port: Int, weight: Int = 1) {
            self.id = id
            self.host = host
            self.port = port
            self.weight = weight
        }
    }

    /// | phase | reads | sets | deletes |
    /// |---|---|---|---|
    /// | steady | node | node | node |
    /// | announced | node (the old one) | node | node, then other (the new one) |
    /// | warming | node (the new one), on a miss other (the old one) | node | other, then node |
    /// | settling | node (the new one) | node | other, then node |
    package enum Phase: String, Hashable, Sendable, CaseIterable {
        case steady, announced, warming, settling
    }

    package struct Slot: Hashable, Sendable {
        /// Where the slot's values are looked for first, and set.
        package var node: CacheNodeID
        /// The node that the slot goes to (announced) or comes from (warming, settling).
        package var other: CacheNodeID?
        package var phase: Phase

        package init(node: CacheNodeID, other: CacheNodeID? = nil, phase: Phase = .steady) {
            self.node = node
            self.other = other
            self.phase = phase
        }

        /// Where a read goes on when `node` has nothing.
        package var secondRead: CacheNodeID? { phase == .warming ? other : nil }

        /// Where a delete goes, in this order.
        package var deletes: [CacheNodeID] {
            guard let other else { return [node] }
            return phase == .announced ? [node, other] : [other, node]
        }
    }

    /// Grows by one with every change.
    package let generation: Int64
    /// In order of their ids.
    package let nodes: [Node]
    package let slots: [Slot]

    /// Every slot's nodes are listed.
    package init(generation: Int64, nodes: [Node], slots: [Slot]) throws(CodecError) {
        let nodes = nodes.sorted { $0.id < $1.id }
        let known = Set(nodes.map(\.id))
        guard generation > 0, known.count == nodes.count, !nodes.isEmpty,
            nodes.allSatisfy({ $0.weight >= 0 && (1...65_535).contains($0.port) })
        else {
            throw CodecError("a pool needs a positive generation, and nodes, each once, with ports")
        }
        guard slots.count == Self.slotCount else {
            throw CodecError("\(slots.count) slots instead of \(Self.slotCount)")
        }
        for slot in slots {
            guard known.contains(slot.node), slot.other.map(known.contains) ?? true else {
                throw CodecError("a slot is on node \(slot.node), which is not listed")
            }
            guard (slot.other == nil) == (slot.phase == .steady), slot.node != slot.other else {
                throw CodecError("a slot of node \(slot.node) is between two nodes, or is not")
            }
        }
        self.generation = generation
        self.nodes = nodes
        self.slots = slots
    }

    package func node(_ id: CacheNodeID) -> Node? { nodes.first { $0.id == id } }

    /// The phase of the slots that change; all of them are in the same one.
    package var phase: Phase { slots.first { $0.phase != .steady }?.phase ?? .steady }

    /// The slots that are looked for on `node`, in order.
    package func slots(of node: CacheNodeID) -> [Int] {
        slots.indices.filter { slots[$0].node == node }
    }
}
