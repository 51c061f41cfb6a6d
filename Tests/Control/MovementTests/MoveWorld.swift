import Administration
import Coordination
import EventLoops
import Glibc
import Movement
import Sharding
import Synchronization
import TestSupport

/// Two shards on servers of their own, which the tests share, and buckets to move from the first to the second.
struct MoveWorld: Sendable {
    let source: TestShard
    let target: TestShard
    let records: Mutexed<[ShardID: ShardRecord]>
    let spec: MoveSpec

    static let buckets = [BucketID(rawValue: 3)!, BucketID(rawValue: 700)!]

    /// Both shards with the tables of `modules`; the first owns every bucket.
    static func make(
        modules: [String] = ["Jobs", "Feed"],
        on servers: (source: PostgresServer, target: PostgresServer)? = nil
    ) async throws -> MoveWorld {
        let servers = if let servers { servers } else { try await SharedPair.only.servers() }
        let source = try await TestShard.make(id: "s1", modules: modules, on: servers.source)
        let target = try await TestShard.make(
            id: "s2",
            modules: modules,
            on: servers.target,
            owning: nil
        )
        try await target.psql(
            """
            INSERT INTO control.shard (id) VALUES ('s2');
            INSERT INTO control.bucket_owner (bucket, epoch, state, next_shard)
            SELECT b, 1, 'gone', 's1' FROM generate_series(0, 1023) AS b;
            """
        )
        return MoveWorld(
            source: source,
            target: target,
            records: Mutexed([
                source.record.id: source.record, target.record.id: target.record,
            ]),
            spec: MoveSpec(
                id: MoveID(number: .random(in: 1...1_000_000_000_000))!,
                source: source.record.id,
                target: target.record.id,
                buckets: buckets
            )!
        )
    }

    func shard(_ id: ShardID) -> TestShard { id == source.record.id ? source : target }

    /// A driver as a coordinator has one; each has its own sessions.
    func driver(
        of cluster: ClusterID? = nil,
        _ adjust: (inout MoveDriverSettings) -> Void = { _ in }
    ) -> MoveDriver {
        var settings = MoveDriverSettings(password: source.server.password)
        adjust(&settings)
        let records = self.records
        return MoveDriver(
            settings: settings,
            offload: Offload(threads: 4, queueLimit: 64, name: "move"),
            cluster: { cluster }
        ) { id in records.value[id] }
    }

    /// A session of a service, as role `app`.
    func session(_ shard: TestShard, as role: String = "app") throws -> AdminSession {
        try AdminSession(
            host: shard.host,
            port: shard.port,
            database: shard.database,
            user: role,
            password: "\(role)-secret"
        )
    }

    /// Rows in the moving buckets and in another one, on the first shard.
    func fill(rows: Int) async throws {
        try await source.psql(
            """
            INSERT INTO feed.entry (bucket, reader, post_id, author)
            SELECT b, 1, n, n * 7 FROM unnest('{3,700,5}'::smallint[]) AS b,
                generate_series(1, \(rows)) AS n;
            """
        )
    }

    /// What a shard has in one bucket, in one text.
    func content(_ shard: TestShard, _ bucket: Int) async throws -> String {
        try await shard.psql(
            """
            SELECT count(*), md5(string_agg(e::text, ',' ORDER BY reader, post_id))
            FROM feed.entry AS e WHERE bucket = \(bucket)
            """
        )
    }

    func owners(_ shard: TestShard) async throws -> String {
        let rows = try await shard.psql(
            """
            SELECT bucket || ' ' || state || ' ' || epoch FROM control.bucket_owner
            WHERE bucket IN (3, 700) ORDER BY bucket
            """
        )
        return rows.split(separator: "\n").joined(separator: ", ")
    }

    /// Nothing with the name of a move is left anywhere.
    func leftovers(_ driver: MoveDriver) async throws -> [Leftover] {
        try await driver.leftovers(on: source.record.id, active: [])
            + driver.leftovers(on: target.record.id, active: [])
    }
}

/// Two servers for all tests of this module, with room for the streams of several moves at a time.
actor SharedPair {
    static let only = SharedPair()

    private var start: Task<(PostgresServer, PostgresServer), any Error>?

    func servers() async throws -> (source: PostgresServer, target: PostgresServer) {
        let running =
            start
            ?? Task {
                async let one = PostgresServer.start(settings: Self.room)
                async let two = PostgresServer.start(settings: Self.room)
                return try await (one, two)
            }
        start = running
        let pair = try await running.value
        return (pair.0, pair.1)
    }

    static let room = [
        "max_replication_slots = 40", "max_wal_senders = 40",
        "max_logical_replication_workers = 40", "max_worker_processes = 60",
    ]
}

/// A value that several tasks look at and change.
final class Mutexed<Value: Sendable>: Sendable {
    private let storage: Mutex<Value>

    init(_ value: Value) { storage = Mutex(value) }

    var value: Value {
        get { storage.withLock { $0 } }
        set { storage.withLock { $0 = newValue } }
    }

    func change(_ body: (inout Value) -> Void) { storage.withLock { body(&$0) } }
}
