internal import Administration
internal import Coordination
internal import Sharding

/// Whether both sides of a move have the same rows.
///
/// The copy was compared as a whole, at its snapshot. What the stream wrote since is in the target's log of keys:
/// each is compared while the stream runs, and forgotten when both sides agree. A row that changes between
/// the two looks is logged again by that change, so that an empty log means equal sides, and the work done so far is
/// in the database for a successor.
struct Verification {
    /// Rows of one part, when a bucket is compared part by part.
    private static let partRows: Int64 = 4_096

    /// Between two looks at keys that differed: their change may be on its way.
    private static let settlePoll = Duration.milliseconds(100)

    private let spec: MoveSpec
    private let shards: ShardSessions

    init(_ spec: MoveSpec, _ shards: ShardSessions) {
        self.spec = spec
        self.shards = shards
    }

    /// Compares what has come until now, while more is coming.
    func verify(run: Int) throws -> MoveFact {
        try StreamServers(spec, shards).require()
        // For the tail, too, which has no time to ask.
        for shard in [spec.source, spec.target] { _ = try shards.tables(of: shard, afresh: true) }
        let digest: String
        if spec.kind == .copy {
            digest = try noted(run)
        } else {
            // A rollback has no copy: everything is compared, and what differs goes into the log.
            try comparePartByPart()
            digest = "part by part"
        }
        let target = try shards[spec.target]
        let newest = try target.value(
            "SELECT coalesce(max(id), 0) FROM control.applied_key WHERE move = $1",
            [spec.id.description]
        )
        let start = ContinuousClock.now
        while true {
            let left = try settle(upTo: newest ?? "0")
            if left == 0 { return .compared(source: digest, target: digest) }
            if start.duration(to: .now) > shards.settings.settleLimit {
                return .compared(source: digest, target: "\(digest), \(left) rows differ")
            }
            try shards.pause(Self.settlePoll)
        }
    }

    /// Compares what came since, when nothing more comes: the buckets are fenced and the marker is there.
    func compareTail(_ attempt: FenceAttempt) throws -> MoveFact {
        try StreamServers(spec, shards).require()
        var source = Tail()
        var target = Tail()
        var after = "0"
        while let window = try window(after: after) {
            for batch in window.batches {
                try compare(batch) { _, theirs, ours in
                    source.add(theirs)
                    target.add(ours)
                }
            }
            after = window.lastID
        }
        guard shards.settings.wholeTailRows > 0, try isSmall() else {
            return .compared(source: source.description, target: target.description)
        }
        let tables = try shards.tables(of: spec.source)
        return .compared(
            source: "\(source) \(try Self.digest(of: tables, spec, shards[spec.source]))",
            target: "\(target) \(try Self.digest(of: tables, spec, shards[spec.target]))"
        )
    }

    /// Compares what is in the log now, and leaves what differs for later.
    func settleWhatIsThere() throws {
        let newest = try shards[spec.target].value(
            "SELECT max(id) FROM control.applied_key WHERE move = $1",
            [spec.id.description]
        )
        if let newest { _ = try settle(upTo: newest) }
    }

    /// What both sides had in common when the copy was made, by the target's note.
    private func noted(_ run: Int) throws -> String {
        let digest = try shards[spec.target].value(
            """
            SELECT (value ->> 'rows') || ' rows ' || (value ->> 'digest')
            FROM control.move_note
            WHERE move = $1 AND entry = 'copied' AND (value ->> 'run')::integer = $2::integer
            """,
            [spec.id.description, String(run)]
        )
        guard let digest else {
            throw MoveFailure(kind: .lost, message: "\(spec.target) has no copy of run \(run)")
        }
        return digest
    }

    private func isSmall() throws -> Bool {
        let rows = try shards[spec.target].value(
            "SELECT value ->> 'rows' FROM control.move_note WHERE move = $1 AND entry = 'copied'",
            [spec.id.description]
        )
        guard let rows = rows.flatMap({ Int64($0) }) else { return false }
        return rows <= shards.settings.wholeTailRows
    }

    // MARK: Whole tables

    /// Count and digest over all of the buckets' rows, in whatever order.
    static func digest(
        of tables: [BucketTable],
        _ spec: MoveSpec,
        _ session: AdminSession
    ) throws(AdminError) -> String {
        guard !tables.isEmpty else { return "-" }
        let parts = tables.map { table in
            """
            SELECT '\(table.name)' AS name, count(*) AS rows,
                coalesce(bit_xor(\(table.hash)), 0) AS hash
            FROM \(table.name) AS t WHERE \(spec.rowFilter)
            """
        }
        let digest = try session.value(
            """
            SELECT sum(rows) || ' ' || to_hex(bit_xor(hash_record_extended(ROW(name, rows, hash), 0)))
            FROM (\(parts.joined(separator: " UNION ALL "))) AS whole
            """
        )
        return digest ?? "-"
    }

    /// Compares parts of each bucket's rows, by the hash of their keys; the keys of parts that differ are put
    /// into the log, where they are looked at again.
    private func comparePartByPart() throws {
        let source = try shards[spec.source]
        let target = try shards[spec.target]
        source.answerTimeout = nil
        target.answerTimeout = nil
        defer {
            source.answerTimeout = shards.settings.answerTimeout
            target.answerTimeout = shards.settings.answerTimeout
        }
        for table in try BucketTable.all(source) {
            for bucket in spec.buckets {
                let rows = try source.value(
                    "SELECT count(*) FROM \(table.name) WHERE bucket = \(bucket)"
                )
                let parts = max(1, (rows.flatMap { Int64($0) } ?? 0) / Self.partRows)
                let theirs = try partDigests(table, bucket, parts, source)
                let ours = try partDigests(table, bucket, parts, target)
                for part in Set(theirs.keys).union(ours.keys).sorted()
                where theirs[part] != ours[part] {
                    for session in [source, target] {
                        try logKeys(of: table, bucket, part, parts, from: session, on: target)
                    }
                }
            }
        }
    }

    private func partDigests(
        _ table: BucketTable,
        _ bucket: BucketID,
        _ parts: Int64,
        _ session: AdminSession
    ) throws(AdminError) -> [Int64: String] {
        let rows = try session.rows(
            """
            SELECT \(table.part(parts)), count(*) || ' ' || bit_xor(\(table.hash))
            FROM \(table.name) AS t WHERE bucket = \(bucket) GROUP BY 1
            """
        )
        var digests: [Int64: String] = [:]
        for row in rows {
            if let part = row[0].flatMap({ Int64($0) }) { digests[part] = row[1] }
        }
        return digests
    }

    private func logKeys(
        of table: BucketTable,
        _ bucket: BucketID,
        _ part: Int64,
        _ parts: Int64,
        from session: AdminSession,
        on target: AdminSession
    ) throws(AdminError) {
        let keys = try session.value(
            """
            SELECT jsonb_agg(\(table.keyObject)) FROM \(table.name) AS t
            WHERE bucket = \(bucket) AND \(table.part(parts)) = \(part)
            """
        )
        guard let keys else { return }
        try target.rows(
            """
            INSERT INTO control.applied_key (move, relation, key)
            SELECT $1, $2, k.key FROM jsonb_array_elements($3::jsonb) AS k(key)
            """,
            [spec.id.description, table.name, keys]
        )
    }

    // MARK: Keys

    /// What the next entries of the log are about, up to `lastID`.
    private struct Window {
        let batches: [Batch]
        let lastID: String
    }

    /// Rows of one table that are compared together.
    private struct Batch {
        let table: BucketTable
        /// A JSON array.
        let keys: String
        /// For each key its entries, with commas between them: a row may have changed more than once.
        let ids: [String]
    }

    /// Compares the log's entries and deletes those whose rows agree; gives how many differ.
    private func settle(upTo newest: String) throws -> Int {
        var left = 0
        var after = "0"
        while let window = try window(after: after, upTo: newest) {
            var equal: [String] = []
            for batch in window.batches {
                try compare(batch) { entry, theirs, ours in
                    if theirs == ours { equal.append(batch.ids[entry]) } else { left += 1 }
                }
            }
            // Entries that come back after a crash are compared again: no disk need be waited for.
            try shards[spec.target].rows(
                """
                DELETE FROM control.applied_key
                USING (SELECT set_config('synchronous_commit', 'off', true)) AS quick
                WHERE id = ANY ($1::bigint[])
                """,
                ["{" + equal.joined(separator: ",") + "}"]
            )
            after = window.lastID
        }
        return left
    }

    /// The next entries, by table, each key once.
    private func window(after: String, upTo newest: String? = nil) throws -> Window? {
        let rows = try shards[spec.target].rows(
            """
            WITH next AS (
                SELECT id, relation, key FROM control.applied_key
                WHERE move = $1 AND id > $2::bigint AND id <= coalesce($3::bigint, id)
                ORDER BY id
                LIMIT $4::integer
            ), row AS (
                SELECT relation, key, string_agg(id::text, ',') AS ids, max(id) AS id FROM next
                GROUP BY relation, key
            )
            SELECT relation, jsonb_agg(key ORDER BY id), string_agg(ids, ';' ORDER BY id),
                max(max(id)) OVER ()
            FROM row
            GROUP BY relation
            """,
            [spec.id.description, after, newest, String(shards.settings.compareBatch)]
        )
        guard let last = rows.first?[3] else { return nil }
        let tables = try shards.tables(of: spec.target)
        let batches = try rows.map { row in
            let name = row[0] ?? ""
            guard let table = tables.first(where: { $0.name == name }) else {
                throw MoveFailure(kind: .lost, message: "the log names \(name), which is no table")
            }
            return Batch(
                table: table,
                keys: row[1] ?? "[]",
                ids: (row[2] ?? "").split(separator: ";").map(String.init)
            )
        }
        return Window(batches: batches, lastID: last)
    }

    /// Looks up each key of the batch on both sides; nil stands for no row.
    private func compare(
        _ batch: Batch,
        _ body: (_ entry: Int, _ theirs: String?, _ ours: String?) -> Void
    ) throws {
        // The target first: what it had then, the source may only have changed since, which is logged.
        let ours = try hashes(batch, shards[spec.target])
        let theirs = try hashes(batch, shards[spec.source])
        for entry in batch.ids.indices { body(entry, theirs[entry], ours[entry]) }
    }

    private func hashes(
        _ batch: Batch,
        _ session: AdminSession
    ) throws(AdminError) -> [Int: String] {
        let table = batch.table
        let same = table.key.map { "t.\"\($0)\" = k.\"\($0)\"" }.joined(separator: " AND ")
        let rows = try session.rows(
            """
            SELECT e.place - 1, \(table.hash)
            FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS e(key, place)
            CROSS JOIN LATERAL jsonb_populate_record(NULL::\(table.name), e.key) AS k
            JOIN \(table.name) AS t ON \(same)
            """,
            [batch.keys]
        )
        var hashes: [Int: String] = [:]
        for row in rows {
            if let entry = row[0].flatMap({ Int($0) }) { hashes[entry] = row[1] }
        }
        return hashes
    }

    /// What the tail's rows come to on one side.
    private struct Tail: CustomStringConvertible {
        private var rows = 0
        private var hash: Int64 = 0

        mutating func add(_ found: String?) {
            guard let found, let value = Int64(found) else { return }
            rows += 1
            // The order counts, so that no two rows cancel each other.
            hash = (hash &* 31) ^ value
        }

        var description: String { "tail \(rows) \(String(UInt64(bitPattern: hash), radix: 16))" }
    }
}

extension BucketTable {
    /// The hash of a row `t` over its columns in this table's order.
    fileprivate var hash: String {
        "hash_record_extended(ROW(\(columns.map { "t.\"\($0)\"" }.joined(separator: ", "))), 0)"
    }

    /// Which of so many parts the row `t` belongs to.
    fileprivate func part(_ parts: Int64) -> String {
        let values = key.map { "t.\"\($0)\"" }.joined(separator: ", ")
        return "abs(hash_record_extended(ROW(\(values)), 0) % \(parts))"
    }

    fileprivate var keyObject: String {
        "jsonb_build_object(" + key.map { "'\($0)', t.\"\($0)\"" }.joined(separator: ", ") + ")"
    }
}
