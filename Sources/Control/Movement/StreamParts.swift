internal import Administration
internal import Coordination
internal import Sharding

/// Publications, slots and subscriptions, one by one; each is made only where it is missing and removed only where it
/// is there.
struct StreamParts {
    /// How often a slot that its reader has not let go of yet is looked at.
    private static let releasePoll = Duration.milliseconds(50)

    /// How long that reader has, before it is ended, and how long in all.
    private static let releaseLimit = (polite: 20, whole: 200)

    /// Subscriptions of all databases of a server are in one catalogue.
    static let isHere =
        "subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())"

    /// Every part of a stream of ours that a server has for this database.
    static func all(
        on session: AdminSession
    ) throws(AdminError) -> [(kind: Leftover.Kind, name: StreamName)] {
        let rows = try session.rows(
            """
            SELECT 'subscription', subname::text FROM pg_subscription WHERE \(isHere)
            UNION ALL
            SELECT 'slot', slot_name::text FROM pg_replication_slots
            WHERE database = current_database()
            UNION ALL
            SELECT 'publication', pubname::text FROM pg_publication
            """
        )
        return rows.compactMap { row in
            guard let kind = row[0].flatMap({ Leftover.Kind(rawValue: $0) }),
                let name = row[1].flatMap({ StreamName($0) })
            else { return nil }
            return (kind, name)
        }
    }

    private let shards: ShardSessions

    init(_ shards: ShardSessions) {
        self.shards = shards
    }

    func publish(_ spec: MoveSpec, _ name: StreamName, on session: AdminSession) throws {
        let known = try session.value(
            "SELECT 1 FROM pg_publication WHERE pubname = $1",
            [name.description]
        )
        guard known == nil else { return }
        let tables = try BucketTable.all(session).map(\.name) + ["control.move_marker"]
        // A TRUNCATE would pass the row filter and empty other buckets.
        try session.run(
            "CREATE PUBLICATION \(name) FOR TABLE "
                + tables.map { "\($0) WHERE (bucket IN (\(spec.bucketList)))" }
                .joined(separator: ", ")
                + " WITH (publish = 'insert, update, delete')"
        )
    }

    func unpublish(_ name: StreamName, on shard: ShardID) throws {
        try shards[shard].run("DROP PUBLICATION IF EXISTS \(name)")
    }

    func subscribe(_ reader: ShardID, to writer: ShardID, _ name: StreamName) throws {
        let session = try shards[reader]
        let known = try session.value(
            """
            SELECT subenabled::text FROM pg_subscription
            WHERE subname = $1 AND \(Self.isHere)
            """,
            [name.description]
        )
        if known == "true" { return }
        if known == "false" { return try session.run("ALTER SUBSCRIPTION \(name) ENABLE") }
        let record = try shards.pool.record(of: writer)
        let parts = [
            ("host", record.primary.host), ("port", String(record.primary.port)),
            ("dbname", record.database), ("user", "mover"),
            ("password", shards.settings.password), ("connect_timeout", "5"),
            ("keepalives_idle", "10"), ("keepalives_interval", "3"), ("keepalives_count", "3"),
        ].map { "\($0.0)='\(escaped($0.1))'" }
        try session.run(
            "CREATE SUBSCRIPTION \(name) "
                + "CONNECTION \(session.quoted(literal: parts.joined(separator: " "))) "
                + "PUBLICATION \(name) WITH (slot_name = '\(name)', create_slot = false, "
                + "copy_data = false)"
        )
    }

    func unsubscribe(_ reader: ShardID, _ name: StreamName) throws {
        let session = try shards[reader]
        let known = try session.value(
            """
            SELECT 1 FROM pg_subscription
            WHERE subname = $1 AND \(Self.isHere)
            """,
            [name.description]
        )
        guard known != nil else { return }
        // Without its slot's name it does not call the other server, which may be gone.
        try session.run("ALTER SUBSCRIPTION \(name) DISABLE")
        try session.run("ALTER SUBSCRIPTION \(name) SET (slot_name = NONE)")
        try session.run("DROP SUBSCRIPTION IF EXISTS \(name)")
    }

    /// Drops the slot once its reader has let go of it; a reader that does not is ended.
    func dropSlot(_ name: StreamName, on shard: ShardID) throws {
        let session = try shards[shard]
        for look in 0..<Self.releaseLimit.whole {
            let found = try session.rows(
                "SELECT active_pid FROM pg_replication_slots WHERE slot_name = $1",
                [name.description]
            )
            guard let slot = found.first else { return }
            if let pid = slot[0] {
                if look >= Self.releaseLimit.polite {
                    try session.rows("SELECT pg_terminate_backend($1::integer)", [pid])
                }
                try shards.pause(Self.releasePoll)
                continue
            }
            if try tryToDrop(name, session) { return }
        }
        throw MoveFailure(kind: .transient, message: "the slot \(name) on \(shard) stays in use")
    }

    /// False when its reader was back, or somebody else dropped it meanwhile.
    private func tryToDrop(
        _ name: StreamName,
        _ session: AdminSession
    ) throws(AdminError) -> Bool {
        do {
            try session.rows("SELECT pg_drop_replication_slot($1)", [name.description])
            return true
        } catch {
            guard ["55006", "42704"].contains(error.sqlstate) else { throw error }
            return false
        }
    }

    func requireSlot(_ name: StreamName, on shard: ShardID) throws {
        let status = try shards[shard].rows(
            "SELECT wal_status FROM pg_replication_slots WHERE slot_name = $1",
            [name.description]
        )
        guard let slot = status.first, slot[0] != "lost" else {
            throw MoveFailure(kind: .lost, message: "the slot \(name) on \(shard) is gone")
        }
    }

    // MARK: Lag

    /// Bytes of log that the writer is ahead of what the reader has applied.
    ///
    /// Servers say what a subscription has confirmed only every few seconds, so a row is sent through the stream;
    /// when it arrives, what the writer has written since is the lag.
    func probe(
        _ spec: MoveSpec,
        _ name: StreamName,
        from writer: ShardID,
        to reader: ShardID
    ) throws -> Int64 {
        try requireSlot(name, on: writer)
        let source = try shards[writer]
        let target = try shards[reader]
        try refuseBrokenReader(name, on: target, of: reader)
        let label = "probe.\(spec.id)"
        let sent = try source.rows(
            """
            INSERT INTO control.move_marker AS m (bucket, attempt, epoch, clock)
            VALUES ($1, $2, 0, 1)
            ON CONFLICT (bucket, attempt) DO UPDATE SET clock = m.clock + 1
            RETURNING clock, pg_current_wal_insert_lsn()
            """,
            [spec.buckets[0].description, label]
        )
        let start = ContinuousClock.now
        while start.duration(to: .now) < shards.settings.probeLimit {
            let seen = try target.value(
                """
                SELECT clock FROM control.move_marker
                WHERE bucket = $1 AND attempt = $2 AND clock >= $3::bigint
                """,
                [spec.buckets[0].description, label, sent[0][0]]
            )
            if seen != nil {
                let behind = try source.value(
                    "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1::pg_lsn)::bigint",
                    [sent[0][1]]
                )
                return behind.flatMap { Int64($0) } ?? 0
            }
            try shards.pause(.milliseconds(2))
        }
        let behind = try source.value(
            """
            SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), confirmed_flush_lsn)::bigint
            FROM pg_replication_slots WHERE slot_name = $1
            """,
            [name.description]
        )
        return max(behind.flatMap { Int64($0) } ?? .max, Self.unknownLagBytes)
    }

    /// What an unseen probe counts at least, so that nobody takes the stream for near.
    private static let unknownLagBytes: Int64 = 1 << 30

    /// Failures to apply after which the stream counts as broken: it tries the same change again each time.
    private static let applyFailures = 3

    private func refuseBrokenReader(
        _ name: StreamName,
        on session: AdminSession,
        of shard: ShardID
    ) throws {
        let stream = try session.rows(
            """
            SELECT s.subenabled::text, coalesce(t.apply_error_count, 0)
            FROM pg_subscription AS s
            LEFT JOIN pg_stat_subscription_stats AS t ON t.subid = s.oid
            WHERE s.subname = $1 AND s.\(Self.isHere)
            """,
            [name.description]
        )
        guard let row = stream.first, row[0] == "true" else {
            throw MoveFailure(kind: .lost, message: "the subscription \(name) on \(shard) is gone")
        }
        if let failures = row[1].flatMap({ Int($0) }), failures >= Self.applyFailures {
            throw MoveFailure(
                kind: .lost,
                message: "\(shard) failed \(failures) times to apply \(name); its log says why"
            )
        }
    }

    /// A value between quotes in a connection string.
    private func escaped(_ text: String) -> String {
        String(text.flatMap { $0 == "'" || $0 == "\\" ? ["\\", $0] : [$0] })
    }
}
