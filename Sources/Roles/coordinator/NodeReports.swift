import Coordination
import Etcd
import EventLoops
import JSON
import Journals
import Sharding

/// What app nodes and workers report of themselves: whether all of them know the present map.
struct NodeReports: Sendable {
    private static let pause = Duration.milliseconds(100)

    let etcd: EtcdClient
    let map: MapStore

    /// Returns when no node reports an older map than the present one; a node that is gone reports nothing, since
    /// its key ends with its lease.
    func awaitPresentMap() async throws {
        guard let generation = try await map.load()?.map.generation else { return }
        while try await oldest() ?? generation < generation {
            try await etcd.loop.sleep(for: Self.pause)
        }
    }

    private func oldest() async throws -> Int64? {
        try await etcd.snapshot(prefix: CoordinatorKeys.nodes).entries.compactMap { entry in
            // Whoever writes something else there does not say that it has an old map.
            (try? JSONReader.parse(entry.value))?["generation"]?.int64
        }.min()
    }
}
