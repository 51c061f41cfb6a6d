/// What a memcached says about itself to the clients of one pool: which life it lives, and how new the newest map is
/// that it must be used by.
///
/// It lies on the node under a name of its own and is the last key of each multi-get, which memcached answers in
/// order: so it is true of everything that was done before in the same round.
package struct NodeStamp: Sendable, Hashable {
    /// Drawn at random; part of every other name on the node, so that another life has other names.
    package var incarnation: UInt32

    /// Of the pool's map. A client with an older one must not use the node.
    package var generation: Int64

    package init(incarnation: UInt32, generation: Int64) {
        self.incarnation = incarnation
        self.generation = generation
    }

    /// Where it lies on the nodes of a pool.
    static func name(of pool: CachePool) -> String { "tessera-stamp:\(pool.rawValue)" }

    /// `5f1d0c00 7`; nil for anything else.
    package init?(text: String) {
        let parts = text.split(separator: " ", omittingEmptySubsequences: false)
        guard parts.count == 2, let incarnation = UInt32(parts[0], radix: 16),
            let generation = Int64(parts[1]), generation >= 0
        else { return nil }
        self.init(incarnation: incarnation, generation: generation)
    }

    package var text: String { "\(prefix) \(generation)" }

    /// Eight hexadecimal digits.
    var prefix: String {
        let digits = String(incarnation, radix: 16)
        return String(repeating: "0", count: 8 - digits.utf8.count) + digits
    }
}
