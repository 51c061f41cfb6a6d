import Database
import EventLoops
import JSON
import Objects
import Postgres
import Sharding
import Shards
import TestSupport
import Testing

@testable import Interactions

struct InteractionExportTests {
    /// An hour that runs counts as one that is over.
    private static let early = Duration.seconds(-3_600)

    @Test
    func `an hour becomes one file with each interaction as a line, and is not exported again`()
        async throws
    {
        let folder = try makeFolder()
        let shards = try await TestCluster.make(shards: 1, modules: ["Interactions"])
        // More than two pages.
        try await fill(shards.shards[0], 2 * InteractionExport.pageSize + 10)
        let (exported, again) = try await shards.run { _, worker in
            let export = try anExport(worker, folder)
            var exported: [ExportedHour] = []
            while let hour = try await export.exportNext(of: worker.shards[0], grace: Self.early) {
                exported.append(hour)
            }
            let again = try await export.exportNext(of: worker.shards[0], grace: Self.early)
            return (exported, again)
        }

        #expect(again == nil)
        #expect(exported.reduce(0) { $0 + $1.rows } == 2 * InteractionExport.pageSize + 10)
        let lines = try await lines(of: exported, in: folder)
        let requests = try lines.map { try JSONReader.parse(Array($0.utf8))["request"]?.string }
        #expect(requests == (1...2 * InteractionExport.pageSize + 10).map { "r\($0)" })
        let first = try JSONReader.parse(Array(lines[0].utf8))
        #expect(first["viewer"]?.string == "64" && first["kind"]?.string == "seen")
        #expect(first["posts"]?.array?.map(\.string) == ["128", "192"])
        #expect(first["milliseconds"]?.array?.map(\.int) == [5, 1])
        let ledger = try await shards.shards[0].psql(
            "SELECT sum(rows), sum(bytes) FROM interactions.export WHERE object IS NOT NULL"
        )
        #expect(ledger == "\(requests.count)|\(exported.reduce(0) { $0 + $1.bytes })")
    }

    @Test
    func
        `an hour whose worker died is exported by another, under the same name with the same bytes`()
        async throws
    {
        let folder = try makeFolder()
        let shards = try await TestCluster.make(shards: 1, modules: ["Interactions"])
        try await fill(shards.shards[0], 50)
        try await shards.run { _, worker in
            let shard = worker.shards[0]
            let export = try anExport(worker, folder)
            let first = try await export.exportNext(of: shard, grace: Self.early)
            let hour = try #require(first)
            let bytes = try await contents(hour.object, in: folder)

            // As a worker leaves it that dies after the file and before the ledger.
            try await shards.shards[0].psql(
                """
                UPDATE interactions.export
                SET exported_at = NULL, object = NULL, rows = NULL, bytes = NULL,
                    claimed_until = now() + interval '1 hour'
                WHERE object IS NOT NULL
                """
            )
            let claimed = try await export.exportNext(of: shard, grace: .zero)
            try await shards.shards[0].psql(
                "UPDATE interactions.export SET claimed_until = now() WHERE exported_at IS NULL"
            )
            let second = try await export.exportNext(of: shard, grace: Self.early)

            #expect(claimed == nil)
            #expect(second == hour)
            #expect(try await contents(hour.object, in: folder) == bytes)
        }
    }

    @Test
    func
        `tables are there for the days to come, and go when their time is over and they are exported`()
        async throws
    {
        let shards = try await TestCluster.make(shards: 1, modules: ["Interactions"])
        let shard = shards.shards[0]
        for age in [3, 10, 20] { try await aTable(daysAgo: age, on: shard) }
        let young = try await days(of: shard)
        // The log is older than the oldest of them, and nothing was exported since.
        try await shard.psql(
            """
            INSERT INTO interactions.export (hour, exported_at)
            VALUES (date_trunc('hour', now(), 'UTC') - interval '30 days', now())
            """
        )
        let dropped = try await shards.run { _, worker in
            let tables = InteractionTables(database: worker)
            let unexported = try await tables.keep(days: 7, exports: true, on: worker.shards[0])
            let unread = try await tables.keep(days: 7, exports: false, on: worker.shards[0])
            return [unexported, unread]
        }

        #expect(young.count == 7)
        #expect(dropped.map { $0.map(\.isLost) } == [[true], [false]])
        let left = try await days(of: shard)
        #expect(left == young.filter { !dropped.joined().map(\.day).contains($0) })
        #expect(left.count == 5)
    }

    @Test func `the tables of the log are none of those that move`() async throws {
        let shards = try await TestCluster.make(shards: 1, modules: ["Interactions"])

        let moving = try await shards.shards[0].psql("SELECT name FROM control.bucket_tables()")

        #expect(!moving.contains("interactions"))
    }

    // MARK: Parts

    private func anExport(_ database: Database, _ folder: String) throws -> InteractionExport {
        let offload = Offload(threads: 1, queueLimit: 64, name: "export")
        return InteractionExport(
            database: database,
            objects: try DirectoryStore(root: folder, offload: offload),
            offload: offload
        )
    }

    private func fill(_ shard: TestShard, _ count: Int) async throws {
        try await shard.psql(
            """
            INSERT INTO interactions.event
                (at, kind, viewer, request, surface, ordering, posts, positions, milliseconds)
            SELECT now(), 2, 64, 'r' || n, 'home', '', '{128,192}', '{0,1}', '{5,1}'
            FROM generate_series(1, \(count)) AS n
            """
        )
    }

    private func aTable(daysAgo age: Int, on shard: TestShard) async throws {
        try await shard.psql(
            """
            DO $$
            DECLARE day date := (now() AT TIME ZONE 'UTC')::date - \(age);
            BEGIN
                EXECUTE format(
                    'CREATE TABLE interactions.event_%s PARTITION OF interactions.event '
                        'FOR VALUES FROM (%L) TO (%L)',
                    to_char(day, 'YYYYMMDD'), day || ' 00:00:00+00', day + 1 || ' 00:00:00+00'
                );
            END $$;
            """,
            user: "migrate"
        )
    }

    private func days(of shard: TestShard) async throws -> [String] {
        try await shard.psql(
            """
            SELECT to_date(right(c.relname, 8), 'YYYYMMDD')
            FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
            WHERE i.inhparent = 'interactions.event'::regclass
            ORDER BY 1
            """
        ).split(separator: "\n").map(String.init)
    }

    private func contents(_ name: ObjectName, in folder: String) async throws -> [UInt8] {
        let files = Offload(threads: 1, queueLimit: 8, name: "read")
        let store = try DirectoryStore(root: folder, offload: files)
        let object = try #require(try await store.get(name))
        return try await object.read(0..<object.length)
    }

    /// Of all files, as gzip itself reads them.
    private func lines(of hours: [ExportedHour], in folder: String) async throws -> [String] {
        var lines: [String] = []
        for hour in hours {
            let name = hour.object.text.split(separator: "/").joined(separator: "~")
            let text = try await runCommand([
                "/bin/sh", "-c", "find \"$1\" -name \"$2\" -exec gzip -dc {} +", "sh", folder, name,
            ])
            #expect(text.status == 0, "\(text.errors)")
            lines += text.output.split(separator: "\n").map(String.init)
        }
        return lines
    }
}
