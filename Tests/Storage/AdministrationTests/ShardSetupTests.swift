import Administration
import Sharding
import TestSupport
import Testing

/// A bare PostgreSQL becomes a shard; each test uses a database of its own on the shared server.
struct ShardSetupTests {
    @Test func `a bare server becomes a shard, and a second time nothing changes`() async throws {
        let setup = try await aSetup()
        let map = try Placement.firstMap(shards: [setup.record])

        for _ in 1...2 {
            try setup.shard.prepareServer()
            try Migrator(session: setup.shard.migrateSession()).run(setup.files)
            try setup.shard.prepareOwnership(by: map)
        }

        let found = try #require(try setup.shard.ownership())
        #expect(found.identity == "s1")
        #expect(found.owned.count == BucketID.count)
        let app = try setup.shard.session(as: "app", password: "app-secret")
        try app.rows("SELECT control.fence('{5}', '{1}')")
        #expect(throws: AdminError.self) { try app.run("CREATE TABLE t (a int)") }
        #expect(throws: AdminError.self) {
            try app.run("UPDATE control.bucket_owner SET epoch = 2")
        }
    }

    @Test func `a shard that owns a part refuses the rest and names the owner`() async throws {
        let setup = try await aSetup()
        let other = ShardRecord(id: ShardID("s2")!, members: [.init(host: "127.0.0.1", port: 1)])
        let map = try Placement.firstMap(shards: [setup.record, other])
        try setup.shard.prepareServer()
        try Migrator(session: setup.shard.migrateSession()).run(setup.files)

        try setup.shard.prepareOwnership(by: map)

        let app = try setup.shard.session(as: "app", password: "app-secret")
        let stray = map.buckets(of: other.id)[0]
        let error = #expect(throws: AdminError.self) {
            try app.rows("SELECT control.fence('{\(stray)}', '{1}')")
        }
        #expect(error?.sqlstate == "TF001")
        #expect(error?.description.contains("state=gone epoch=1 next=s2") == true)
    }

    @Test func `a bucket weighs what its rows weigh, whatever was deleted beside it`() async throws
    {
        let setup = try await aSetup()
        try setup.shard.prepareServer()
        try Migrator(session: setup.shard.migrateSession()).run(setup.files)
        let mover = try setup.shard.moverSession()
        try mover.run("CREATE TABLE weighed (bucket smallint, id int, PRIMARY KEY (bucket, id))")
        try mover.run("INSERT INTO weighed SELECT n % 2, n FROM generate_series(1, 20000) AS n")
        let measure = BucketMeasure(session: mover)
        let before = try measure.sizes()

        try mover.run("DELETE FROM weighed WHERE bucket = 1")

        let after = try measure.sizes()
        let bucket = BucketID.all[0]
        #expect(before[bucket]?.rows == 10_000)
        #expect(after[bucket] == before[bucket])
        #expect(after[BucketID.all[1]] == nil)
        #expect(try measure.sizes(of: [bucket])[bucket]?.rows == 10_000)
    }

    @Test func `a file that fails leaves nothing of itself and says which it was`() async throws {
        let setup = try await aSetup()
        try setup.shard.prepareServer()
        let broken = MigrationFile(
            module: "Posts",
            number: 1,
            name: "m0001_broken",
            sql: "CREATE SCHEMA posts; CREATE TABLE posts.a (x int); SELECT 1/0;"
        )

        let migrator = Migrator(session: try setup.shard.migrateSession())
        let error = #expect(throws: MigrationError.self) {
            try migrator.run(setup.files + [broken])
        }

        #expect(error?.description.contains("Posts/m0001_broken: division by zero") == true)
        let mover = try setup.shard.moverSession()
        #expect(try mover.value("SELECT to_regnamespace('posts')::text") == nil)
        #expect(try mover.value("SELECT count(*) FROM control.migration") == "\(setup.files.count)")
    }

    @Test func `migrators at the same time run each file once`() async throws {
        let setup = try await aSetup()
        try setup.shard.prepareServer()
        let slow = MigrationFile(
            module: "Posts",
            number: 1,
            name: "m0001_slow",
            sql: "CREATE SCHEMA posts; SELECT pg_sleep(0.2); CREATE TABLE posts.a (x int);"
        )
        let all = setup.files + [slow]

        let ran = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 1...4 {
                group.addTask {
                    try await blocking {
                        try Migrator(session: setup.shard.migrateSession()).run(all).count
                    }
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }

        #expect(ran.sorted() == [0, 0, 0, all.count])
    }

    @Test func `a migration waits briefly for a locked table, and runs once it is free`()
        async throws
    {
        let setup = try await aSetup()
        try setup.shard.prepareServer()
        let migrator = Migrator(session: try setup.shard.migrateSession())
        let table = MigrationFile(
            module: "Posts",
            number: 1,
            name: "m0001_table",
            sql: "CREATE SCHEMA posts; CREATE TABLE posts.a (x int);"
        )
        try migrator.run(setup.files + [table])
        let reader = try setup.shard.moverSession()
        try reader.run("BEGIN; LOCK TABLE posts.a IN ACCESS SHARE MODE")
        let column = MigrationFile(
            module: "Posts",
            number: 2,
            name: "m0002_column",
            sql: "ALTER TABLE posts.a ADD COLUMN y int;"
        )

        async let done = blocking {
            try Migrator(session: setup.shard.migrateSession())
                .run(setup.files + [table, column]).count
        }
        try await Task.sleep(for: .milliseconds(2_500))
        // Meanwhile the table's other readers were not queued behind it for longer than the lock timeout.
        try reader.run("COMMIT")

        #expect(try await done == 1)
    }

    @Test func `a wrong password and a dead address are told apart`() async throws {
        let server = try await PostgresServer.shared()
        let denied = #expect(throws: AdminError.self) {
            try AdminSession(
                host: server.host,
                port: server.port,
                database: "postgres",
                user: "mover",
                password: "wrong"
            )
        }
        let unreachable = #expect(throws: AdminError.self) {
            try AdminSession(
                host: "127.0.0.1",
                port: 1,
                database: "postgres",
                user: "mover",
                password: "mover-secret"
            )
        }

        #expect(denied?.kind == .denied)
        #expect(unreachable?.kind == .unreachable)
    }

    private struct Setup: Sendable {
        let record: ShardRecord
        let shard: ShardSetup
        let files: [MigrationFile]
    }

    private func aSetup() async throws -> Setup {
        let server = try await PostgresServer.shared()
        let record = ShardRecord(
            id: ShardID("s1")!,
            members: [.init(host: server.host, port: server.port)],
            database: try await server.newDatabase()
        )
        return Setup(
            record: record,
            shard: ShardSetup(
                shard: record,
                secrets: ShardSecrets(
                    mover: "mover-secret",
                    migrate: "migrate-secret",
                    app: "app-secret",
                    worker: "worker-secret"
                )
            ),
            files: try MigrationFile.load(from: "\(packageRoot)/Sources/Storage/Database")
        )
    }
}
