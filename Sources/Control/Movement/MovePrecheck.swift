internal import Administration
internal import Coordination
internal import Sharding

/// Everything that could stop a move, looked at before anything is changed.
struct MovePrecheck {
    /// Free disk at the target beyond twice what comes.
    private static let spareBytes: Int64 = 256 << 20

    /// The oldest server that filters the rows of a stream.
    private static let oldestVersion = 150_000

    private let spec: MoveSpec
    private let shards: ShardSessions

    init(_ spec: MoveSpec, _ shards: ShardSessions) {
        self.spec = spec
        self.shards = shards
    }

    /// What would be moved; throws all objections at once, each with what to do.
    func check() throws -> MoveFact {
        var objections: [String] = []
        for shard in [spec.source, spec.target] {
            objections += try server(shard).map { "\(shard): \($0)" }
        }
        // Further questions need the schema of ours.
        if objections.isEmpty { objections += try schemas() + owners() }
        guard objections.isEmpty else {
            throw MoveFailure(kind: .refused, message: objections.joined(separator: "\n"))
        }
        guard spec.kind == .copy else {
            try requireStream()
            return .size(rows: 0, bytes: 0)
        }
        return try size()
    }

    // MARK: The servers

    private func server(_ shard: ShardID) throws -> [String] {
        let session = try shards[shard]
        let row = try session.rows(
            """
            SELECT current_setting('server_version_num'),
                (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)::text,
                (NOT pg_is_in_recovery())::text, current_setting('wal_level'),
                to_regclass('control.shard')::text,
                to_regprocedure('control.schema_digest()')::text
            """
        )[0]
        var found: [String] = []
        if row[0].flatMap({ Int($0) }) ?? 0 < Self.oldestVersion {
            found.append("the server is older than PostgreSQL 15: upgrade it")
        }
        if row[1] != "true" {
            found.append("role mover is not a superuser there: ALTER ROLE mover SUPERUSER")
        }
        if row[2] != "true" {
            found.append("the server is a standby: give the address of its primary")
        }
        if row[3] != "logical" {
            found.append(
                "wal_level is \(row[3] ?? "?"): set wal_level = logical and restart the server"
            )
        }
        if row[4] == nil || row[5] == nil {
            found.append("the database is no shard of this version: run shardctl migrate")
        } else if let identity = try session.value("SELECT id FROM control.shard"),
            identity != shard.name
        {
            found.append(
                "its database says that it is shard \(identity): "
                    + "correct the address with shardctl map import"
            )
        }
        return found + (try room(session))
    }

    /// Slots, senders and workers for one stream in each direction.
    private func room(_ session: AdminSession) throws(AdminError) -> [String] {
        let uses = try session.rows(
            """
            SELECT 'max_replication_slots', current_setting('max_replication_slots')::integer,
                greatest(
                    (SELECT count(*) FROM pg_replication_slots),
                    (SELECT count(*) FROM pg_replication_origin_status)
                ), 1
            UNION ALL
            SELECT 'max_wal_senders', current_setting('max_wal_senders')::integer,
                (SELECT count(*) FROM pg_stat_replication), 2
            UNION ALL
            SELECT 'max_logical_replication_workers',
                current_setting('max_logical_replication_workers')::integer,
                (SELECT count(*) FROM pg_stat_subscription WHERE pid IS NOT NULL), 1
            UNION ALL
            SELECT 'max_worker_processes', current_setting('max_worker_processes')::integer,
                (
                    SELECT count(*) FROM pg_stat_activity
                    WHERE backend_type LIKE 'logical replication%' OR backend_type = 'parallel worker'
                ), 1
            """
        )
        return uses.compactMap { row in
            guard let name = row[0], let limit = row[1].flatMap({ Int($0) }),
                let used = row[2].flatMap({ Int($0) }), let wanted = row[3].flatMap({ Int($0) }),
                limit - used < wanted
            else { return nil }
            return "\(used) of \(name) = \(limit) are in use: wait for other moves, "
                + "or raise it and restart the server"
        }
    }

    // MARK: Schemas

    private func schemas() throws -> [String] {
        var found: [String] = []
        let digests = try [spec.source, spec.target].map {
            try shards[$0].value("SELECT control.schema_digest()")
        }
        if digests[0] != digests[1] {
            found.append(
                "\(spec.source) and \(spec.target) have different schemas: run shardctl migrate"
            )
        }
        for table in try BucketTable.all(shards[spec.source]) {
            if !table.key.contains("bucket") {
                found.append(
                    "\(table.name) has no bucket in its primary key, so its rows cannot be told "
                        + "apart in a stream: add a migration that puts it there"
                )
            }
            if !table.isLogged {
                found.append(
                    "\(table.name) is UNLOGGED, so it has no stream: ALTER TABLE … SET LOGGED"
                )
            }
        }
        for shard in [spec.source, spec.target] {
            let bare = try unguarded(shards[shard])
            guard !bare.isEmpty else { continue }
            found.append(
                "\(shard): \(bare.joined(separator: ", ")) lack the guard: run shardctl migrate"
            )
        }
        return found
    }

    /// Tables without the triggers of `control.guard_tables`, or with another replica identity than their key.
    private func unguarded(_ session: AdminSession) throws(AdminError) -> [String] {
        try session.rows(
            """
            SELECT t.name FROM control.bucket_tables() AS t
            JOIN pg_class AS c ON c.oid = t.relation
            WHERE c.relreplident NOT IN ('d', 'f') OR 4 > (
                SELECT count(*) FROM pg_trigger AS g
                WHERE g.tgrelid = t.relation AND (
                    g.tgname LIKE 'bucket\\_guard\\_%' AND g.tgenabled = 'O'
                    OR g.tgname = 'bucket_applied' AND g.tgenabled = 'R'
                )
            )
            """
        ).compactMap(\.[0])
    }

    // MARK: Buckets

    private func owners() throws -> [String] {
        var found: [String] = []
        let source = try OwnerRows(shards[spec.source]).rows(of: spec.buckets)
        for (bucket, row) in zip(spec.buckets, source) where row?.state != .own {
            found.append(
                "\(spec.source) does not own bucket \(bucket) (\(row?.state.rawValue ?? "no row")): "
                    + "shardctl doctor says where it is"
            )
        }
        let target = try OwnerRows(shards[spec.target]).rows(of: spec.buckets)
        for (bucket, row) in zip(spec.buckets, target) {
            switch row?.state {
            case nil, .gone: continue
            case .incoming where row?.attempt == spec.id.description: continue
            default:
                found.append(
                    "\(spec.target) has bucket \(bucket) as \(row!.state) by "
                        + "\(row!.attempt ?? "nobody"): shardctl doctor says what to do"
                )
            }
        }
        guard found.isEmpty, spec.kind == .copy else { return found }
        let free = zip(spec.buckets, target).filter { $1?.state != .incoming }.map(\.0)
        let tables = try OrphanRows(shards[spec.target]).tables(with: free)
        if !tables.isEmpty {
            found.append(
                "\(spec.target) has rows of these buckets in \(tables.joined(separator: ", ")): "
                    + "shardctl doctor --repair removes them"
            )
        }
        return found
    }

    /// A rollback goes through the reverse stream, or not at all.
    private func requireStream() throws {
        let stream = spec.stream(run: 0)
        let slot = try shards[spec.source].value(
            "SELECT 1 FROM pg_replication_slots WHERE slot_name = $1",
            [stream.description]
        )
        let subscription = try shards[spec.target].value(
            "SELECT 1 FROM pg_subscription WHERE subname = $1 AND \(StreamParts.isHere)",
            [stream.description]
        )
        guard slot != nil, subscription != nil else {
            throw MoveFailure(
                kind: .refused,
                message: "the reverse stream \(stream) is gone: "
                    + "plan a move of the buckets back to \(spec.target)"
            )
        }
        try StreamServers(spec, shards).require()
    }

    // MARK: Size

    private func size() throws -> MoveFact {
        let source = try shards[spec.source]
        source.answerTimeout = nil
        defer { source.answerTimeout = shards.settings.answerTimeout }
        let sizes = try BucketMeasure(session: source).sizes(of: spec.buckets)
        var rows: Int64 = 0
        var bytes: Int64 = 0
        for bucket in spec.buckets {
            rows += sizes[bucket]?.rows ?? 0
            bytes += sizes[bucket]?.bytes ?? 0
        }
        let wanted = bytes * 2 + bytes / 5 + Self.spareBytes
        if let free = try shards[spec.target].freeDiskBytes(), free < wanted {
            throw MoveFailure(
                kind: .refused,
                message: "\(spec.target): its disk has \(megabytes(free)) free, and "
                    + "\(megabytes(wanted)) are wanted: free some, or move to another shard"
            )
        }
        return .size(rows: rows, bytes: bytes)
    }
}
