internal import Administration
internal import Coordination
internal import Sharding

/// The copy of a move: what the exported snapshot shows of the buckets, table by table.
///
/// On the target it is one transaction, so that of a copy which breaks off nothing stays.
struct RowCopy {
    /// Bytes between two reports of progress.
    private static let reportBytes: Int64 = 256 << 10

    private let spec: MoveSpec
    private let run: Int
    private let shards: ShardSessions

    init(_ spec: MoveSpec, _ run: Int, _ shards: ShardSessions) {
        self.spec = spec
        self.run = run
        self.shards = shards
    }

    func copy(_ report: (CopyProgress) -> Void) throws -> MoveFact {
        guard let snapshot = shards.pool.snapshot(of: spec.id), snapshot.run == run,
            !snapshot.session.hasEnded
        else {
            throw MoveFailure(kind: .lost, message: "the snapshot of the copy is gone")
        }
        defer { shards.pool.dropSnapshot(of: spec.id) }
        let name = MoveStreams(spec, shards).copyName
        let source = try shards.another(spec.source, name: name)
        let target = try shards.another(spec.target, name: name)
        try source.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        do {
            try source.run(
                "SET TRANSACTION SNAPSHOT \(source.quoted(literal: snapshot.name))"
            )
        } catch {
            throw MoveFailure(kind: .lost, message: "the snapshot of the copy is gone: \(error)")
        }
        let tables = try BucketTable.all(source)
        try begin(target)
        let progress = try copy(tables, source, target, report)
        // Scans of whole buckets take as long as they take.
        source.answerTimeout = nil
        target.answerTimeout = nil
        let theirs = try Verification.digest(of: tables, spec, source)
        let ours = try Verification.digest(of: tables, spec, target)
        guard theirs == ours else {
            throw MoveFailure(kind: .lost, message: "the copy differs: \(theirs) and \(ours)")
        }
        try target.rows(
            """
            INSERT INTO control.move_note (move, entry, value)
            VALUES ($1, 'copied', jsonb_build_object('run', $4::bigint, 'rows', $2::bigint, 'digest', $3::text))
            ON CONFLICT (move, entry) DO UPDATE SET value = excluded.value, written_at = now()
            """,
            [spec.id.description, String(progress.rows), ours, String(run)]
        )
        try target.run("COMMIT")
        return .copied(rows: progress.rows, bytes: progress.bytes)
    }

    /// Rows arrive as those of a stream do: past the guard, and not logged one by one. The owner rows stay
    /// as they are until the copy is there.
    private func begin(_ target: AdminSession) throws {
        try target.run(
            """
            BEGIN;
            SET LOCAL session_replication_role = replica;
            SET LOCAL tessera.copying = 'on';
            """
        )
        try CopyRuns(spec, target).require(run)
        let ready = try target.rows(
            """
            SELECT bucket FROM control.bucket_owner
            WHERE \(spec.rowFilter) AND state = 'incoming' AND attempt = $1
            FOR SHARE
            """,
            [spec.id.description]
        )
        guard ready.count == spec.buckets.count else {
            throw MoveFailure(
                kind: .lost,
                message: "\(spec.target) does not expect the rows of this move any more"
            )
        }
    }

    private func copy(
        _ tables: [BucketTable],
        _ source: AdminSession,
        _ target: AdminSession,
        _ report: (CopyProgress) -> Void
    ) throws -> CopyProgress {
        let start = ContinuousClock.now
        var progress = CopyProgress()
        var throttle = shards.settings.copyBytesPerSecond.map { CopyThrottle(bytesPerSecond: $0) }
        var reported: Int64 = 0
        for table in tables {
            progress.table = table.name
            let columns = table.columns.map { source.quoted(identifier: $0) }
                .joined(separator: ", ")
            let rows = try CopyPipe(from: source, to: target).run(
                out: "COPY (SELECT \(columns) FROM \(table.name) WHERE \(spec.rowFilter)) "
                    + "TO STDOUT (FORMAT binary)",
                into: "COPY \(table.name) (\(columns)) FROM STDIN (FORMAT binary)"
            ) { bytes in
                progress.bytes += Int64(bytes)
                let elapsed = start.duration(to: .now)
                if let wait = throttle?.spend(bytes, at: elapsed) { try shards.pause(wait) }
                guard progress.bytes - reported >= Self.reportBytes else { return }
                if shards.flag.isSet { throw CancellationError() }
                reported = progress.bytes
                progress.elapsed = elapsed
                report(progress)
            }
            progress.rows += rows
        }
        return progress
    }
}
