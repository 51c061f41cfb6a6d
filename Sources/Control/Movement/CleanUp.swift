internal import Administration
internal import Coordination
internal import Sharding

/// Takes away what a move made, at its end or when it is undone.
struct CleanUp {
    private let spec: MoveSpec
    private let shards: ShardSessions

    init(_ spec: MoveSpec, _ shards: ShardSessions) {
        self.spec = spec
        self.shards = shards
    }

    /// Removes the buckets' rows on the source, where they are gone at the epochs at which the move took them, and all
    /// that has the move's name. A rollback takes the move that it rolled back with it.
    func clean(_ epochs: [Epoch]) throws {
        // The streams first: a delete that somebody still reads would be done on the other side as well.
        let streams = MoveStreams(spec, shards)
        try streams.detach()
        try streams.stopReverse()
        try deleteRows(
            on: spec.source,
            owned: """
                SELECT o.bucket FROM control.bucket_owner AS o
                JOIN unnest($1::smallint[], $2::bigint[]) AS u(bucket, epoch)
                    ON u.bucket = o.bucket AND u.epoch = o.epoch
                WHERE o.state = 'gone' FOR SHARE OF o
                """,
            [spec.bucketArray, array(epochs)]
        )
        for shard in [spec.source, spec.target] {
            for move in names { try forget(move, on: shard) }
        }
    }

    /// The source keeps its buckets, and nothing shows that they were to move. A rollback's stream and rows are those
    /// of the move that it was to roll back, which goes on with them.
    func undo() throws {
        if spec.kind == .copy {
            shards.pool.dropSnapshot(of: spec.id)
            let streams = MoveStreams(spec, shards)
            try streams.detach()
            try streams.stopReverse()
            try deleteTargetRows()
        }
        for shard in [spec.source, spec.target] { try forget(spec.id, on: shard) }
        try shards[spec.target].rows(
            "SELECT control.unmark_incoming($1, $2)",
            [spec.id.description, spec.bucketArray]
        )
    }

    /// Removes what came to the target, as long as the buckets are on their way by this move, and no later run of the
    /// copy has begun.
    func deleteTargetRows(run: Int? = nil) throws {
        try deleteRows(
            on: spec.target,
            owned: """
                SELECT o.bucket FROM control.bucket_owner AS o
                WHERE o.bucket = ANY ($1::smallint[]) AND o.state = 'incoming' AND o.attempt = $2
                    AND ($3::integer IS NULL OR EXISTS (
                        SELECT FROM control.move_note AS n
                        WHERE n.move = $2 AND n.entry = 'run'
                            AND (n.value ->> 'run')::integer = $3::integer
                        FOR SHARE OF n
                    ))
                FOR SHARE OF o
                """,
            [spec.bucketArray, spec.id.description, run.map { String($0) }]
        )
    }

    private var names: [MoveID] {
        if case .rollback(let original) = spec.kind { [spec.id, original] } else { [spec.id] }
    }

    /// Markers, notes and the log of keys.
    private func forget(_ move: MoveID, on shard: ShardID) throws {
        try MoveTraces(shards[shard]).remove(of: move)
        shards.pool.forget(move)
    }

    /// Deletes in batches, each of which looks again whether the buckets may be deleted.
    private func deleteRows(
        on shard: ShardID,
        owned: String,
        _ parameters: [String?]
    ) throws {
        let session = try shards[shard]
        try RowDeletion(session, batch: shards.settings.deleteBatch).run(owned, parameters) {
            try shards.pause(.zero)
        }
    }
}

/// Deletes rows of buckets that a shard has no right to any more.
struct RowDeletion {
    private let session: AdminSession
    private let batch: Int

    init(_ session: AdminSession, batch: Int) {
        self.session = session
        self.batch = batch
    }

    /// `owned` selects the buckets, and locks their owner rows until a batch is done; `between` is called after
    /// each batch. Gives how many rows went.
    @discardableResult
    func run(_ owned: String, _ parameters: [String?], between: () throws -> Void) throws -> Int {
        var deleted = 0
        for table in try BucketTable.all(session) {
            while true {
                let count = try deleteBatch(of: table, owned, parameters)
                deleted += count
                try between()
                if count < batch { break }
            }
        }
        return deleted
    }

    private func deleteBatch(
        of table: BucketTable,
        _ owned: String,
        _ parameters: [String?]
    ) throws -> Int {
        var count = 0
        try session.transaction {
            // Past the guard, which refuses buckets that are not owned, and unseen by the log of keys.
            try session.run(
                "SET LOCAL session_replication_role = replica; SET LOCAL tessera.copying = 'on'"
            )
            let buckets = try session.rows(owned, parameters).compactMap(\.[0])
            guard !buckets.isEmpty else { return }
            let deleted = try session.value(
                """
                WITH picked AS MATERIALIZED (
                    SELECT ctid FROM \(table.name) WHERE bucket = ANY ($1::smallint[]) LIMIT \(batch)
                ), deleted AS (
                    DELETE FROM \(table.name) WHERE ctid = ANY (ARRAY(SELECT ctid FROM picked))
                    RETURNING 1
                )
                SELECT count(*) FROM deleted
                """,
                ["{" + buckets.joined(separator: ",") + "}"]
            )
            count = deleted.flatMap { Int($0) } ?? 0
        }
        return count
    }
}

/// The rows in which a move has left its name on one shard.
struct MoveTraces {
    private let session: AdminSession

    init(_ session: AdminSession) {
        self.session = session
    }

    /// The move of an attempt such as `m12.3`, a probe such as `probe.m12`.
    private static let moveOfMarker =
        "CASE WHEN attempt LIKE 'probe.%' THEN split_part(attempt, '.', 2) "
        + "ELSE split_part(attempt, '.', 1) END"

    /// The moves that left a trace, by name, as they are written.
    func moves() throws(AdminError) -> [String] {
        try session.rows(
            """
            SELECT \(Self.moveOfMarker) FROM control.move_marker
            UNION SELECT move FROM control.move_note
            UNION SELECT move FROM control.move_watch
            UNION SELECT move FROM control.applied_key
            ORDER BY 1
            """
        ).compactMap(\.[0])
    }

    func has(_ move: MoveID) throws(AdminError) -> Bool {
        try moves().contains(move.description)
    }

    func remove(of move: MoveID) throws(AdminError) {
        let name = session.quoted(literal: move.description)
        try session.run(
            """
            DELETE FROM control.move_watch WHERE move = \(name);
            DELETE FROM control.applied_key WHERE move = \(name);
            DELETE FROM control.move_note WHERE move = \(name);
            DELETE FROM control.move_marker WHERE \(Self.moveOfMarker) = \(name);
            """
        )
    }
}
