package import Database
package import Postgres
package import Sharding

/// Folds counted changes into totals.
///
/// A fold moves amounts in one statement, so a reader sees them before it or after it and never twice. Any
/// number of folders may run: they skip each other's rows. It may stop at any time.
package struct CounterFolder: Sendable {
    /// Changes that one fold takes.
    package static let batch = 5_000

    private let database: Database

    package init(database: Database) {
        self.database = database
    }

    /// Folds up to ``batch`` changes of one shard; returns how many it took.
    package func fold(on shard: ShardID) async throws(DatabaseError) -> Int {
        let buckets: [BucketID] = try await database.rows(
            """
            SELECT bucket
            FROM (
                SELECT bucket
                FROM counters.delta
                WHERE bucket IN (SELECT bucket FROM control.bucket_owner WHERE state = 'own')
                LIMIT \(Self.batch)
            ) AS waiting
            GROUP BY bucket
            ORDER BY bucket
            """,
            onShard: shard
        )
        let ours = buckets.filter { database.shard(of: $0) == shard }
        return ours.isEmpty ? 0 : try await fold(ours)
    }

    /// Folds buckets of one shard; one that is moving is not waited for.
    package func fold(_ buckets: [BucketID]) async throws(DatabaseError) -> Int {
        let rows = try await database.write(
            on: buckets,
            holds: false,
            [
                """
                WITH picked AS MATERIALIZED (
                    SELECT bucket, subject, kind, id
                    FROM counters.delta
                    WHERE bucket = ANY (\(buckets.map(\.rawValue))::smallint[])
                    ORDER BY bucket, subject, kind
                    LIMIT \(Self.batch)
                    FOR UPDATE SKIP LOCKED
                ), taken AS (
                    DELETE FROM counters.delta AS d
                    USING picked AS p
                    WHERE d.bucket = p.bucket AND d.subject = p.subject AND d.kind = p.kind
                        AND d.id = p.id
                    RETURNING d.bucket, d.subject, d.kind, d.amount
                ), added AS (
                    INSERT INTO counters.total AS t (bucket, subject, kind, amount)
                    -- In the order of the key, so that two folders cannot wait for each other.
                    SELECT bucket, subject, kind, sum(amount)
                    FROM taken
                    GROUP BY bucket, subject, kind
                    ORDER BY bucket, subject, kind
                    ON CONFLICT (bucket, subject, kind) DO UPDATE
                    SET amount = t.amount + excluded.amount
                )
                SELECT count(*) FROM taken
                """
            ]
        )
        return try rows[0].decode(as: Int.self)[0]
    }
}
