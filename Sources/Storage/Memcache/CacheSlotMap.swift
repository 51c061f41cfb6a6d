/// The address of one memcached.
package struct CacheNode: Hashable, Sendable, CustomStringConvertible {
    package let host: String
    package let port: UInt16

    package init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// Reads `host:port`.
    package init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), colon > text.startIndex,
            let port = UInt16(text[text.index(after: colon)...]), port > 0
        else { return nil }
        self.init(host: String(text[..<colon]), port: port)
    }

    package var description: String { "\(host):\(port)" }
}

/// Which node of a pool holds each of the 1,024 slots.
///
/// The map is explicit: libmemcached's own distribution is not used, so every client, whatever its protocol,
/// agrees on where a key is. ``init(nodes:)`` draws it by rendezvous, so a node more or less moves its share only.
package struct CacheSlotMap: Sendable, Equatable {
    package static let slotCount = 1024

    package let nodes: [CacheNode]

    /// For each slot the index into ``nodes``; empty when there is no node.
    package let owners: [UInt16]

    /// The map in which each slot belongs to the node that draws the highest number for it.
    package init(nodes: [CacheNode]) {
        self.nodes = nodes
        guard !nodes.isEmpty else {
            owners = []
            return
        }
        let seeds = nodes.map { node in
            node.description.utf8.reduce(0xCBF2_9CE4_8422_2325 as UInt64) {
                ($0 ^ UInt64($1)) &* 0x100_0000_01B3
            }
        }
        owners = (0..<CacheSlotMap.slotCount).map { slot in
            var best = 0
            var highest: UInt64 = 0
            for (index, seed) in seeds.enumerated() {
                let drawn = CacheSlotMap.mix(seed ^ UInt64(slot) &* 0x9E37_79B9_7F4A_7C15)
                if index == 0 || drawn > highest { (best, highest) = (index, drawn) }
            }
            return UInt16(best)
        }
    }

    /// A map that was decided elsewhere.
    package init?(nodes: [CacheNode], owners: [UInt16]) {
        guard owners.count == CacheSlotMap.slotCount, owners.allSatisfy({ Int($0) < nodes.count })
        else { return nil }
        self.nodes = nodes
        self.owners = owners
    }

    /// The index of the node that holds `slot`, or nil when the pool is empty.
    package func owner(of slot: Int) -> Int? {
        owners.isEmpty ? nil : Int(owners[slot])
    }

    /// The finaliser of splitmix64.
    private static func mix(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
