import Sharding

/// One memcached of a pool, as whoever changes the pool reaches it; each call blocks, on a connection of its own.
package struct PoolNodeAccess: Sendable {
    package let node: CacheNode
    package let pool: CachePool

    /// How long the node may take.
    package var timeout = Duration.seconds(2)

    package init(_ node: CacheNode, in pool: CachePool) {
        self.node = node
        self.pool = pool
    }

    /// The node does not answer, or not as a memcached does.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    /// Nil for a node that no client has used yet.
    package func stamp() throws(Failure) -> NodeStamp? {
        try with { link throws(MemcachedFailure) in try link.readStamp() }
    }

    /// Has the node refuse clients whose map is older than `generation`; never lowers what it says.
    package func raiseStamp(to generation: Int64) throws(Failure) {
        try with { link throws(MemcachedFailure) in try link.raiseStamp(to: generation) }
    }

    /// Puts all that the pool has on the node out of reach, also of clients whose map is as new as that.
    package func empty(at generation: Int64) throws(Failure) {
        try with { link throws(MemcachedFailure) in
            try link.raiseStamp(to: generation)
            try link.renewIncarnation(newest: generation)
        }
    }

    private func with<T>(
        _ body: (MemcachedLink) throws(MemcachedFailure) -> T
    ) throws(Failure) -> T {
        let link = MemcachedLink(node: node, pool: pool, timeout: timeout) { _ in false }
        defer { link.disconnect() }
        do throws(MemcachedFailure) {
            return try body(link)
        } catch {
            switch error {
            case .node(let reason): throw Failure(description: "\(node): \(reason)")
            }
        }
    }
}
