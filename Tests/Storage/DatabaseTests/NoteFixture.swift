import Database
import EventLoops
import Postgres
import Sharding
import TestSupport

/// A row of the table that these tests write: an id in its bucket, and a text.
struct Note: RowDecodable, Hashable {
    let id: Int64
    let text: String

    init(id: Int64, text: String) {
        self.id = id
        self.text = text
    }

    init(row: inout Row) throws(DatabaseError) {
        id = try row.next()
        text = try row.next()
    }

    static func insert(_ note: Note, in bucket: BucketID) -> SQL {
        "INSERT INTO note (bucket, id, text) VALUES (\(bucket), \(note.id), \(note.text))"
    }

    static func all(in bucket: BucketID) -> SQL {
        "SELECT id, text FROM note WHERE bucket = \(bucket) ORDER BY id"
    }

    static func all(in buckets: [BucketID]) -> SQL {
        "SELECT id, text FROM note WHERE bucket = ANY(\(buckets.map(\.rawValue)))"
    }
}

/// Makes shards with the table of notes.
func aCluster(shards: Int, ownServers: Bool = false) async throws -> TestCluster {
    let cluster = try await TestCluster.make(shards: shards, ownServers: ownServers)
    for shard in cluster.shards {
        try await shard.psql(
            """
            CREATE TABLE note (
                bucket smallint, id bigint, text text NOT NULL, PRIMARY KEY (bucket, id)
            );
            GRANT SELECT, INSERT ON note TO app;
            """
        )
    }
    return cluster
}

/// Runs a test with a Database of its own on those shards.
func withDatabase<T: Sendable>(
    _ cluster: TestCluster,
    refusalDeadline: Duration = .seconds(5),
    refusedLimit: Int = 1_024,
    _ body: @escaping @Sendable (Database) async throws -> T
) async throws -> T {
    try await withLoop { loop in
        var settings = DatabaseSettings(user: "app", password: "app-secret")
        settings.refusalDeadline = refusalDeadline
        settings.refusedLimit = refusedLimit
        // A busy machine is no failure.
        settings.adjust = { $0.statementTimeout = .seconds(30) }
        let database = Database(loop: loop, map: cluster.map, settings: settings)
        do {
            let value = try await body(database)
            await database.close()
            return value
        } catch {
            await database.close()
            throw error
        }
    }
}
