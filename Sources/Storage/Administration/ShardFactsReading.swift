import Sharding

extension ShardSetup {
    /// Asks the server what ``ShardFitness`` wants to know; changes nothing.
    package func facts() throws(AdminError) -> ShardFacts {
        let server = try session(as: "mover", password: secrets.mover, database: "postgres")
        let row = try server.rows(
            """
            SELECT current_setting('server_version_num'),
                (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)::text,
                (NOT pg_is_in_recovery())::text, current_setting('wal_level'),
                current_setting('max_replication_slots'),
                (SELECT count(*) FROM pg_replication_slots),
                current_setting('max_wal_senders'), (SELECT count(*) FROM pg_stat_replication),
                current_setting('max_logical_replication_workers'),
                (SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'template1'),
                (SELECT string_agg(name, ',' ORDER BY name) FROM pg_settings
                    WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')
                        AND setting = 'off'),
                (SELECT 1 FROM pg_database WHERE datname = $1)
            """,
            [shard.database]
        )[0]
        func number(_ column: Int) -> Int { row[column].flatMap { Int($0) } ?? 0 }
        var facts = ShardFacts(
            versionNumber: number(0),
            isSuperuser: row[1] == "true",
            isPrimary: row[2] == "true",
            walLevel: row[3] ?? "?",
            slots: .init(used: number(5), limit: number(4)),
            senders: .init(used: number(7), limit: number(6)),
            replicationWorkers: number(8),
            encoding: row[9] ?? "?",
            unsafeSettings: row[10]?.split(separator: ",").map(String.init) ?? [],
            freeDiskBytes: row[1] == "true" ? server.freeDiskBytes() : nil,
            identity: nil,
            ownedBuckets: 0,
            migrations: [],
            strangeTables: 0
        )
        if row[11] != nil { try readData(into: &facts) }
        return facts
    }

    private func readData(into facts: inout ShardFacts) throws(AdminError) {
        let session = try moverSession()
        guard let who = try session.identity() else {
            let tables = try session.value(
                """
                SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                WHERE c.relkind IN ('r', 'p')
                    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'control')
                """
            )
            facts.strangeTables = tables.flatMap { Int($0) } ?? 0
            return
        }
        (facts.identity, facts.cluster) = (who.shard, who.cluster)
        let owned = try session.value(
            "SELECT count(*) FROM control.bucket_owner WHERE state NOT IN ('gone')"
        )
        facts.ownedBuckets = owned.flatMap { Int($0) } ?? 0
        facts.migrations = try Migrator(session: session).recorded()
    }
}

extension AdminSession {
    /// Free bytes of the file system under the data, asked through the server's own shell; nil where there is
    /// none, as on a managed server.
    package func freeDiskBytes() -> Int64? {
        do {
            try run("CREATE TEMP TABLE IF NOT EXISTS disk_free (line text); TRUNCATE disk_free")
            // PostgreSQL runs the program in its data directory.
            try run("COPY disk_free FROM PROGRAM 'df -P -B1 . | tail -n 1'")
            let free = try value(
                "SELECT split_part(regexp_replace(line, '\\s+', ' ', 'g'), ' ', 4) FROM disk_free"
            )
            return free.flatMap { Int64($0) }
        } catch {
            return nil
        }
    }
}
