package import Sharding

/// A move of one bucket between two test shards, step by step, in SQL: no stream, the rows are taken over under the
/// fence.
package struct TestMove: Sendable {
    package let bucket: BucketID
    package let source: TestShard
    package let target: TestShard
    private let attempt: String
    private let tables: [String]

    /// `number` makes the move's name; a later move of the same bucket has a higher one.
    package init(
        _ bucket: BucketID,
        from source: TestShard,
        to target: TestShard,
        tables: [String],
        number: Int = 1
    ) {
        self.bucket = bucket
        self.source = source
        self.target = target
        self.tables = tables + ["control.move_marker"]
        attempt = "m\(number).1"
    }

    /// The whole move. Returns when the target writes and the source knows that it is gone.
    package func run() async throws {
        try await prepare()
        try await fence()
        try await carry()
        try await release()
        try await activate()
        try await retire()
    }

    /// The target expects the bucket, one epoch later.
    package func prepare() async throws {
        let epoch = try await source.psql(
            "SELECT epoch + 1 FROM control.bucket_owner WHERE bucket = \(bucket)"
        )
        try await target.psql(
            "SELECT control.mark_incoming('\(move)', '{\(bucket)}', '{\(epoch)}', '\(source.id)')"
        )
    }

    package func fence() async throws {
        try await source.psql(
            """
            SELECT control.fence_for_move('\(attempt)', '{\(bucket)}', ARRAY[epoch], '\(target.id)', 5000)
            FROM control.bucket_owner WHERE bucket = \(bucket)
            """
        )
    }

    /// Takes the bucket's rows over as they are now.
    package func carry() async throws {
        for table in tables {
            let rows = try await source.psql(
                "SELECT coalesce(json_agg(t), '[]') FROM \(table) AS t WHERE bucket = \(bucket)"
            )
            try await target.psql(
                """
                SET session_replication_role = replica;
                DELETE FROM \(table) WHERE bucket = \(bucket);
                INSERT INTO \(table)
                SELECT * FROM json_populate_recordset(NULL::\(table), $rows$\(rows)$rows$);
                """
            )
        }
    }

    package func release() async throws {
        try await source.psql("SELECT control.release('\(attempt)', '{\(bucket)}')")
    }

    package func activate() async throws {
        try await target.psql("SELECT control.activate('\(attempt)', '{\(bucket)}')")
    }

    package func retire() async throws {
        try await source.psql("SELECT control.mark_gone('\(attempt)', '{\(bucket)}')")
    }

    /// Gives the fenced bucket back to the source.
    package func giveUp() async throws {
        try await source.psql(
            """
            SELECT control.give_up('\(attempt)', '{\(bucket)}', ARRAY[epoch])
            FROM control.bucket_owner WHERE bucket = \(bucket)
            """
        )
    }

    /// Deletes the rows that stayed on the source.
    package func clean() async throws {
        for table in tables {
            try await source.psql(
                """
                SET session_replication_role = replica;
                DELETE FROM \(table) WHERE bucket = \(bucket)
                """
            )
        }
    }

    private var move: String { attempt.split(separator: ".")[0].description }
}
