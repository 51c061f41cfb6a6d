import Coordination
import Etcd
import EventLoops
import Journals
import Movement
import Sharding
import Synchronization

/// Where the work of moves is done: on the databases by the driver, on the map here.
final class Workshop: Sendable {
    /// Each move has one piece of work under way, and one that is just being given up.
    private static let threads = 24

    private let driver: MoveDriver
    private let publisher: MapPublisher
    private let nodes: NodeReports
    private let store: MapStore
    private let map: SharedMap

    init(etcd: EtcdClient, settings: MoveDriverSettings) {
        store = MapStore(etcd: etcd)
        publisher = MapPublisher(store: store)
        nodes = NodeReports(etcd: etcd, map: store)
        let known = SharedMap()
        map = known
        driver = MoveDriver(
            settings: settings,
            offload: Offload(threads: Self.threads, queueLimit: 256, name: "mover"),
            cluster: { known.value?.cluster }
        ) { known.value?.shard($0) }
    }

    /// Keeps the records of the shards as the map has them, until the task is cancelled.
    func followMap(report: @escaping (String) -> Void) async {
        await store.follow({ self.map.value = $0 }, onTrouble: report)
    }

    func carryOut(_ work: MoveWork, of spec: MoveSpec) async throws -> MoveFact {
        switch work {
        case .publish(let owner, let epochs):
            try await publisher.publish(owner, spec.buckets, epochs)
            return .nothing
        case .clean:
            // Whoever has an old map may still read the old rows.
            try await nodes.awaitPresentMap()
            return try await driver.perform(work, of: spec)
        default: return try await driver.perform(work, of: spec)
        }
    }

    /// Rows and bytes that the copy of a move has carried; nil while it copies nothing.
    func copied(by move: MoveID) -> (rows: Int64, bytes: Int64)? {
        driver.progress(of: move).map { ($0.rows, $0.bytes) }
    }
}

/// The newest map, for threads and loops alike.
private final class SharedMap: Sendable {
    private let held = Mutex<ShardMap?>(nil)

    var value: ShardMap? {
        get { held.withLock { $0 } }
        set { held.withLock { $0 = newValue } }
    }
}
