import Glibc

/// A database on a real server that is set up as a shard: roles, migrations, and every bucket its own.
package struct TestShard: Sendable {
    package let server: PostgresServer
    package let database: String
    package let id: String

    package var host: String { server.host }
    package var port: Int { server.port }

    /// Makes a shard with the migrations of `modules`, applied in this order after those of `Database`.
    ///
    /// The roles are `migrate`, `app` and `worker`; each role's password is its name and `-secret`.
    package static func make(
        id: String = "s1",
        modules: [String] = [],
        on server: PostgresServer? = nil,
        owning buckets: ClosedRange<Int>? = 0...1_023
    ) async throws -> TestShard {
        let chosen: PostgresServer
        if let server { chosen = server } else { chosen = try await .shared() }
        let template = try await Templates.only.database(with: modules, on: chosen)
        let database = try await chosen.newDatabase(like: template)
        let shard = TestShard(server: chosen, database: database, id: id)
        try await shard.admitRoles()
        if let buckets { try await shard.own(buckets) }
        return shard
    }

    /// A database with the migrations, to be copied.
    fileprivate static func template(
        with modules: [String],
        on server: PostgresServer
    ) async throws -> String {
        let database = try await server.newDatabase()
        let shard = TestShard(server: server, database: database, id: "template")
        try await shard.makeRoles()
        try await shard.admitRoles()
        for module in ["Database"] + modules { try await shard.migrate(module) }
        try await shard.guardTables()
        return database
    }

    /// Runs SQL as `user`, by psql.
    @discardableResult
    package func psql(_ sql: String, user: String = "mover") async throws -> String {
        try await server.psql(sql, database: database, user: user)
    }

    /// The same shard on a server that was its standby, promoted after the end of the present one.
    package func failedOver() async throws -> TestShard {
        let standby = try await server.makeStandby()
        await server.process.stop()
        try await standby.psql("SELECT pg_promote()")
        return TestShard(server: standby, database: database, id: id)
    }

    /// Makes the shard the owner of `buckets` at epoch 1, and records its name.
    package func own(_ buckets: ClosedRange<Int>) async throws {
        try await psql(
            """
            INSERT INTO control.shard (id) VALUES ('\(id)') ON CONFLICT DO NOTHING;
            INSERT INTO control.bucket_owner (bucket, epoch, state)
            SELECT bucket, 1, 'own'
            FROM generate_series(\(buckets.lowerBound), \(buckets.upperBound)) AS bucket
            ON CONFLICT DO NOTHING;
            """
        )
    }

    /// Applies the files of `Sources/*/<module>/Migrations`, each in a transaction, as the role `migrate`.
    package func migrate(_ module: String) async throws {
        let found = try await runCommand([
            "/bin/sh", "-c", "ls \"$1\"/Sources/*/\"$2\"/Migrations/m*.sql | sort", "sh",
            packageRoot, module,
        ])
        let files = found.output.split(separator: "\n").map(String.init)
        guard !files.isEmpty else { throw TestSupportError("\(module) has no migrations") }
        for file in files {
            try await server.psql(
                readText(file) ?? "",
                database: database,
                user: "migrate",
                singleTransaction: true
            )
        }
    }

    /// Puts the guard on every table that belongs to buckets, as the migrator does after the migrations.
    package func guardTables() async throws {
        try await psql("SELECT control.guard_tables()", user: "migrate")
    }

    private func makeRoles() async throws {
        let roles = ["migrate", "app", "worker"].map { role in
            """
            DO $$ BEGIN
                CREATE ROLE \(role) LOGIN PASSWORD '\(role)-secret';
            EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
            END $$;
            """
        }
        try await psql(roles.joined(separator: "\n"))
    }

    private func admitRoles() async throws {
        try await psql("GRANT CREATE, CONNECT ON DATABASE \(database) TO migrate;")
    }
}

/// Databases that others are copies of: migrating takes longer than most tests.
private actor Templates {
    static let only = Templates()

    private struct Kind: Hashable {
        let port: Int
        let modules: [String]
    }

    private var known: [Kind: Task<String, any Error>] = [:]

    func database(with modules: [String], on server: PostgresServer) async throws -> String {
        let kind = Kind(port: server.port, modules: modules)
        let making =
            known[kind] ?? Task { try await TestShard.template(with: modules, on: server) }
        known[kind] = making
        return try await making.value
    }
}
