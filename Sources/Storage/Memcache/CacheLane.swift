import Sharding

/// The way from one loop to one memcached of a pool, whatever its protocol.
///
/// Everything is called on the loop. A lane answers each command within a bounded time, without the node where that
/// is down, and answers nothing that was read in another life of the node, or by a map older than it asks for.
protocol CacheLane: AnyObject {
    var node: CacheNode { get }

    /// Whether the node is asked at all.
    var isUp: Bool { get }

    /// Whether the node may hold something that must not be read any more; it is put out of reach first.
    var isStale: Bool { get }

    /// How often this client has put the node's memory out of reach.
    var renewals: Int { get }

    var statistics: CacheStatistics { get }

    /// Has the node's memory put out of reach before it is used again.
    func markStale()

    /// The node stays in a newer map.
    func adopt(generation newer: Int64)

    /// `asked` is the generation of the map by which this node was chosen.
    func submit(_ command: CacheCommand, generation asked: Int64, _ waiter: CacheWaiter)

    /// Ends once it has answered what waits.
    func close()
}

/// How a client talks to memcached.
package enum CacheTransport: String, Sendable, CaseIterable {
    /// The meta protocol on the loop's own sockets.
    case meta
    /// libmemcached on a helper thread for each node and loop.
    case libmemcached
}
