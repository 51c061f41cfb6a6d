package import Database
package import Postgres
package import Sharding

/// Compares counts with what they are counts of, and repairs those that are wrong.
///
/// The comparing and the repairing are each one statement on one shard, in `m0002_reconcile.sql`: likes that happen
/// meanwhile can neither be taken for drift nor be lost. What services count is in the table `counters.truth`.
package struct Reconciler: Sendable {
    /// Subjects that one comparison takes.
    package static let batch = 200

    private let database: Database

    package init(database: Database) {
        self.database = database
    }

    /// The kinds of counts whose truth is known on the shard of a key.
    package func kinds(on key: some Routed) async throws(DatabaseError) -> [CountedKind] {
        try await database.rows("SELECT kind, name FROM counters.truth ORDER BY kind", on: key)
    }

    /// Compares the next subjects of a bucket after `subject`; changes nothing.
    package func compare(
        _ kind: CountedKind,
        in bucket: BucketID,
        after subject: Int64,
        limit: Int = batch
    ) async throws(DatabaseError) -> Comparison {
        let rows: [ComparedRow] = try await database.rows(
            """
            SELECT subject, counted, truth, checked, last
            FROM counters.compare(
                \(bucket)::smallint, \(kind.kind)::smallint, \(subject)::bigint,
                \(Int32(limit))::integer
            )
            """,
            on: bucket
        )
        var comparison = Comparison()
        for row in rows {
            if let subject = row.subject {
                comparison.drifts.append(
                    CountDrift(
                        kind: kind,
                        bucket: bucket,
                        subject: subject,
                        counted: row.counted,
                        truth: row.truth
                    )
                )
            } else {
                comparison.checked = row.checked
                comparison.last = row.last
            }
        }
        return comparison
    }

    /// Makes a count right; gives how far it was off by then, or nil where it was right already.
    package func repair(_ drift: CountDrift) async throws(DatabaseError) -> CountDrift? {
        let rows = try await database.write(
            on: drift.bucket,
            [
                """
                SELECT counted, truth
                FROM counters.repair(
                    \(drift.bucket)::smallint, \(drift.kind.kind)::smallint,
                    \(drift.subject)::bigint
                )
                """
            ]
        )
        guard let found: RepairedRow = try rows[0].first() else { return nil }
        var drift = drift
        drift.counted = found.counted
        drift.truth = found.truth
        return drift
    }
}

/// A kind of count, as `counters.truth` names it.
package struct CountedKind: Sendable, Hashable, RowDecodable {
    package let kind: Int16
    package let name: String

    package init(kind: Int16, name: String) {
        self.kind = kind
        self.name = name
    }

    package init(row: inout Row) throws(DatabaseError) {
        kind = try row.next()
        name = try row.next()
    }
}

/// A count that is not what it should be.
package struct CountDrift: Sendable, Equatable {
    package let kind: CountedKind
    package let bucket: BucketID
    /// The id of what is counted for.
    package let subject: Int64
    package var counted: Int
    package var truth: Int
}

/// What one look at some subjects has found.
package struct Comparison: Sendable, Equatable {
    package var drifts: [CountDrift] = []
    package var checked = 0
    /// Where the next look begins; nil at the end of the bucket.
    package var last: Int64?
}

private struct ComparedRow: RowDecodable {
    let subject: Int64?
    let counted: Int
    let truth: Int
    let checked: Int
    let last: Int64?

    init(row: inout Row) throws(DatabaseError) {
        subject = try row.next()
        counted = try row.next(Int?.self) ?? 0
        truth = try row.next(Int?.self) ?? 0
        checked = try row.next(Int?.self) ?? 0
        last = try row.next()
    }
}

private struct RepairedRow: RowDecodable {
    let counted: Int
    let truth: Int

    init(row: inout Row) throws(DatabaseError) {
        counted = try row.next()
        truth = try row.next()
    }
}
