import Coordination
import Etcd
import Sharding

/// Tells everybody, through the map, who owns the buckets of a move now.
struct MapPublisher: Sendable {
    private static let tries = 20

    let store: MapStore

    /// Sets the entries of the buckets whose epoch in the map is lower than that given; by compare-and-set, so
    /// that it may be repeated, late as well.
    func publish(_ owner: ShardID, _ buckets: [BucketID], _ epochs: [Epoch]) async throws {
        for _ in 1...Self.tries {
            guard let stored = try await store.load() else {
                throw MoveFailure(
                    kind: .transient,
                    message: "etcd holds no map; rebuild it: shardctl map import"
                )
            }
            guard stored.map.shard(owner) != nil else {
                throw MoveFailure(kind: .transient, message: "the map has no shard \(owner)")
            }
            guard
                let map = stored.map.publishing(buckets, owner: owner, epochs: epochs)
            else { return }
            if try await store.save(map, replacing: stored) { return }
        }
        throw MoveFailure(kind: .transient, message: "the map changes too fast")
    }
}
