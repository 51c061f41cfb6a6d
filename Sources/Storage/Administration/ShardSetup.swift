import Sharding

/// The passwords of a shard's roles.
package struct ShardSecrets: Sendable {
    package let mover: String
    package let migrate: String
    package let app: String
    package let worker: String

    package init(mover: String, migrate: String, app: String, worker: String) {
        self.mover = mover
        self.migrate = migrate
        self.app = app
        self.worker = worker
    }
}

/// Turns a bare PostgreSQL server into a shard, with the superuser's credentials; running it again changes
/// nothing but the passwords, which become those given.
package struct ShardSetup {
    let shard: ShardRecord
    let secrets: ShardSecrets

    package init(shard: ShardRecord, secrets: ShardSecrets) {
        self.shard = shard
        self.secrets = secrets
    }

    /// A session with the shard's primary; `database` is the shard's own unless another is named.
    package func session(
        as user: String,
        password: String,
        database: String? = nil
    ) throws(AdminError) -> AdminSession {
        let primary = shard.members.first { $0.role == .primary } ?? shard.members[0]
        return try AdminSession(
            host: primary.host,
            port: primary.port,
            database: database ?? shard.database,
            user: user,
            password: password
        )
    }

    package func moverSession() throws(AdminError) -> AdminSession {
        try session(as: "mover", password: secrets.mover)
    }

    package func migrateSession() throws(AdminError) -> AdminSession {
        try session(as: "migrate", password: secrets.migrate)
    }

    /// Makes the roles and the database.
    package func prepareServer() throws(AdminError) {
        let server = try session(as: "mover", password: secrets.mover, database: "postgres")
        // Roles belong to the whole server; another command may be making them for it. The lock ends with
        // the session.
        try server.run("SELECT pg_advisory_lock(32343, 2)")
        try server.run("SET password_encryption = 'scram-sha-256'")
        for (role, password) in [
            ("migrate", secrets.migrate), ("app", secrets.app), ("worker", secrets.worker),
        ] {
            let known = try server.value("SELECT 1 FROM pg_roles WHERE rolname = $1", [role]) != nil
            try server.run(
                "\(known ? "ALTER" : "CREATE") ROLE \(role) LOGIN NOSUPERUSER NOCREATEDB "
                    + "NOCREATEROLE PASSWORD \(server.quoted(literal: password))"
            )
        }
        let name = server.quoted(identifier: shard.database)
        let exists = try server.value(
            "SELECT 1 FROM pg_database WHERE datname = $1",
            [shard.database]
        )
        if exists == nil { try server.run("CREATE DATABASE \(name)") }
        try server.run(
            """
            REVOKE ALL ON DATABASE \(name) FROM PUBLIC;
            GRANT CONNECT, CREATE ON DATABASE \(name) TO migrate;
            GRANT CONNECT ON DATABASE \(name) TO app, worker;
            """
        )
        let inside = try moverSession()
        try inside.run("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    }

    /// Which buckets the shard's own rows say that it has; nil on a database that was never set up.
    package func ownership() throws(AdminError) -> ShardOwnership? {
        let session: AdminSession
        do {
            session = try moverSession()
        } catch let error where error.kind == .denied && error.description.contains("database") {
            return nil
        }
        guard let who = try session.identity() else { return nil }
        let rows = try session.rows(
            "SELECT bucket, epoch FROM control.bucket_owner WHERE state = 'own' ORDER BY bucket"
        )
        var owned: [BucketID: Epoch] = [:]
        for row in rows {
            guard let bucket = row[0].flatMap({ Int($0) }).flatMap({ BucketID(rawValue: $0) }),
                let epoch = row[1].flatMap({ Int64($0) })
            else { continue }
            owned[bucket] = Epoch(rawValue: epoch)
        }
        return ShardOwnership(identity: who.shard, cluster: who.cluster, owned: owned)
    }

    /// Records who the shard is and what it owns by `map`, on a database that has no owner rows yet; on another one,
    /// whose it is where it does not know.
    package func prepareOwnership(by map: ShardMap) throws {
        let session = try moverSession()
        let entries = BucketID.all.map { map[$0] }
        try session.transaction {
            try session.run(
                "SET LOCAL lock_timeout = '10s'; SELECT pg_advisory_xact_lock(32343, 1)"
            )
            if let known = try session.identity() { return try claim(known, for: map, session) }
            try session.rows(
                "INSERT INTO control.shard (id, cluster) VALUES ($1, $2)",
                [shard.id.name, map.cluster?.text]
            )
            try session.rows(
                """
                INSERT INTO control.bucket_owner (bucket, epoch, state, next_shard)
                SELECT m.bucket - 1, m.epoch,
                    CASE WHEN m.owner = $3 THEN 'own' ELSE 'gone' END, nullif(m.owner, $3)
                FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS m(epoch, owner, bucket)
                """,
                [
                    "{" + entries.map { "\($0.epoch)" }.joined(separator: ",") + "}",
                    "{" + entries.map { "\($0.shard)" }.joined(separator: ",") + "}",
                    shard.id.name,
                ]
            )
        }
    }

    private func claim(_ known: ShardIdentity, for map: ShardMap, _ session: AdminSession) throws {
        guard let cluster = map.cluster, known.cluster != cluster else { return }
        if let other = known.cluster {
            throw MapConflict(
                "\(shard.id) has become a shard of another cluster meanwhile (\(other), this is \(cluster))"
            )
        }
        try session.rows("UPDATE control.shard SET cluster = $1", [cluster.text])
    }
}

/// Who a shard's own database says that it is.
package struct ShardIdentity: Sendable, Equatable {
    package let shard: String
    /// Nil on a shard of before clusters had names.
    package let cluster: ClusterID?

    package init(shard: String, cluster: ClusterID?) {
        self.shard = shard
        self.cluster = cluster
    }
}

extension AdminSession {
    /// Nil for a database that was never set up.
    package func identity() throws(AdminError) -> ShardIdentity? {
        guard try value("SELECT to_regclass('control.shard')::text") != nil,
            // As JSON, since a schema of before lacks the column.
            let row = try rows(
                "SELECT id, to_jsonb(s) ->> 'cluster' FROM control.shard AS s"
            ).first, let shard = row[0]
        else { return nil }
        return ShardIdentity(shard: shard, cluster: row[1].flatMap { ClusterID($0) })
    }
}

extension AdminSession {
    /// System identifier and timeline: another one after each promotion, and on each other server. The same for as
    /// long as a session with a primary lasts.
    package func serverLife() throws(AdminError) -> String? {
        try value(
            """
            SELECT system_identifier || '/' || CASE
                WHEN pg_is_in_recovery() THEN 'standby'
                ELSE substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)
            END
            FROM pg_control_system()
            """
        )
    }
}

/// What a shard's own rows say about it.
package struct ShardOwnership: Sendable, Equatable {
    package let identity: String
    package let cluster: ClusterID?
    package let owned: [BucketID: Epoch]

    package init(identity: String, cluster: ClusterID? = nil, owned: [BucketID: Epoch]) {
        self.identity = identity
        self.cluster = cluster
        self.owned = owned
    }
}
