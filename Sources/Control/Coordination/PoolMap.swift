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
/// While a slot warms up it has a previous node too: a read that misses on the new one asks the previous one and adds
/// what it finds; a write goes to the new one, a delete to both.
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

    package struct Slot: Hashable, Sendable {
        package var node: CacheNodeID
        /// The node that had the slot before, while this one warms up.
        package var previous: CacheNodeID?

        package init(node: CacheNodeID, previous: CacheNodeID? = nil) {
            self.node = node
            self.previous = previous
        }
    }

    /// Grows by one with every change.
    package internal(set) var generation: Int64
    /// In order of their ids.
    package internal(set) var nodes: [Node]
    package internal(set) var slots: [Slot]

    /// Every slot's nodes are listed.
    package init(generation: Int64, nodes: [Node], slots: [Slot]) throws(CodecError) {
        let nodes = nodes.sorted { $0.id < $1.id }
        let known = Set(nodes.map(\.id))
        guard generation > 0, known.count == nodes.count, !nodes.isEmpty else {
            throw CodecError("a pool needs a positive generation, and nodes, each once")
        }
        guard slots.count == Self.slotCount else {
            throw CodecError("\(slots.count) slots instead of \(Self.slotCount)")
        }
        for slot in slots {
            guard known.contains(slot.node), slot.previous.map(known.contains) ?? true else {
                throw CodecError("a slot is on node \(slot.node), which is not listed")
            }
            guard slot.node != slot.previous else {
                throw CodecError("a slot warms up from its own node \(slot.node)")
            }
        }
        self.generation = generation
        self.nodes = nodes
        self.slots = slots
    }

    package func node(_ id: CacheNodeID) -> Node? { nodes.first { $0.id == id } }

    /// Some slot has a previous node.
    package var isWarming: Bool { slots.contains { $0.previous != nil } }
}
