package import Database
package import Postgres
package import Sharding

/// Every statement on `jobs.outbox` and `jobs.dead`.
package struct OutboxStore: Sendable {
    /// Due effects that one look considers.
    private static let lookLimit = 500

    private let database: Database

    package init(database: Database) {
        self.database = database
    }

    // MARK: Claiming

    /// The buckets of one shard that have something due, most overdue first.
    ///
    /// A read without a lock or a write, so that looking at a quiet shard costs nearly nothing.
    func dueBuckets(on shard: ShardID) async throws(DatabaseError) -> [BucketID] {
        try await database.rows(
            """
            SELECT due.bucket
            FROM (
                SELECT bucket, available_at
                FROM jobs.outbox
                WHERE available_at <= now()
                    AND bucket IN (SELECT bucket FROM control.bucket_owner WHERE state = 'own')
                ORDER BY available_at
                LIMIT \(Self.lookLimit)
            ) AS due
            GROUP BY due.bucket
            ORDER BY min(due.available_at)
            """,
            onShard: shard
        )
    }

    /// Leases up to `limit` due effects of these buckets, which one shard owns, and skips those that
    /// another worker is leasing at this moment. A bucket that is moving is not waited for.
    func claim(
        _ buckets: [BucketID],
        limit: Int,
        lease: Duration,
        token: Int64
    ) async throws(DatabaseError) -> [ClaimedEffect] {
        let rows = try await database.write(
            on: buckets,
            holds: false,
            [
                """
                WITH due AS MATERIALIZED (
                    SELECT bucket, id
                    FROM jobs.outbox
                    WHERE available_at <= now()
                        AND bucket = ANY (\(buckets.map(\.rawValue))::smallint[])
                    ORDER BY available_at
                    LIMIT \(limit)
                    FOR UPDATE SKIP LOCKED
                )
                UPDATE jobs.outbox AS o
                SET attempts = o.attempts + 1,
                    available_at = now() + \(lease.seconds)::float8 * interval '1 second',
                    leased_until = now() + \(lease.seconds)::float8 * interval '1 second',
                    lease_token = \(token)
                FROM due
                WHERE o.bucket = due.bucket AND o.id = due.id
                RETURNING o.kind, o.version, o.bucket, o.id, o.payload::text, o.traceparent,
                    o.attempts, o.created_at, o.lease_token
                """
            ]
        )
        return try rows[0].decode(as: ClaimedEffect.self)
    }

    /// Keeps the leases of effects that take long. Their buckets lie on one shard, and are not waited for.
    func extend(_ effects: [ClaimedEffect], lease: Duration) async throws(DatabaseError) {
        _ = try await database.write(
            on: owners(of: effects),
            holds: false,
            [
                """
                UPDATE jobs.outbox AS o
                SET available_at = now() + \(lease.seconds)::float8 * interval '1 second',
                    leased_until = now() + \(lease.seconds)::float8 * interval '1 second'
                FROM \(fragment: list(effects)) AS e (bucket, id, token)
                WHERE o.bucket = e.bucket AND o.id = e.id AND o.lease_token = e.token
                """
            ]
        )
    }

    // MARK: Ending

    /// Writes what was decided about effects of one shard, in one transaction. With `holds` false it does not wait
    /// for a bucket that is moving.
    func settle(_ verdicts: [Verdict], holds: Bool) async throws(DatabaseError) {
        let done = verdicts.filter { $0.decision == .complete }.map(\.effect)
        var statements: [SQL] = []
        if !done.isEmpty { statements.append(deletion(of: done)) }
        statements += retries(verdicts)
        statements += verdicts.compactMap(burial)
        _ = try await database.write(
            on: owners(of: verdicts.map(\.effect)),
            holds: holds,
            statements
        )
    }

    private func deletion(of effects: [ClaimedEffect]) -> SQL {
        """
        DELETE FROM jobs.outbox AS o
        USING \(fragment: list(effects)) AS e (bucket, id, token)
        WHERE o.bucket = e.bucket AND o.id = e.id AND o.lease_token = e.token
        """
    }

    private func retries(_ verdicts: [Verdict]) -> [SQL] {
        verdicts.compactMap { verdict in
            guard case .retry(let delay, let counts, let reason) = verdict.decision else {
                return nil
            }
            let effect = verdict.effect
            return """
                UPDATE jobs.outbox
                SET available_at = now() + \(delay.seconds)::float8 * interval '1 second',
                    leased_until = NULL,
                    lease_token = NULL,
                    attempts = attempts - \(counts ? 0 : 1)::integer,
                    last_error = COALESCE(\(reason)::text, last_error)
                WHERE bucket = \(effect.owner) AND id = \(effect.id)
                    AND lease_token = \(effect.token)
                """
        }
    }

    private func burial(_ verdict: Verdict) -> SQL? {
        guard case .bury(let reason) = verdict.decision else { return nil }
        let effect = verdict.effect
        return """
            WITH gone AS (
                DELETE FROM jobs.outbox
                WHERE bucket = \(effect.owner) AND id = \(effect.id)
                    AND lease_token = \(effect.token)
                RETURNING bucket, id, kind, version, payload, traceparent, attempts, created_at
            )
            INSERT INTO jobs.dead
                (bucket, id, kind, version, payload, traceparent, attempts, created_at, reason)
            SELECT bucket, id, kind, version, payload, traceparent, attempts, created_at,
                \(reason)::text
            FROM gone
            """
    }

    // MARK: Dead letters

    /// The newest dead letters of every shard; asks all shards.
    package func deadLettersOnEveryShard(limit: Int) async throws(DatabaseError) -> [DeadLetter] {
        let shards: [(ShardID, [DeadLetter])] = try await database.everyShard(
            """
            SELECT bucket, id, kind, version, payload::text, attempts, created_at, died_at, reason
            FROM jobs.dead
            WHERE bucket IN (\(fragment: Self.readable))
            ORDER BY died_at DESC
            LIMIT \(limit)
            """
        )
        // A bucket that was handed over between two looks comes twice.
        var letters: [Int64: DeadLetter] = [:]
        for letter in shards.flatMap(\.1) { letters[letter.id] = letter }
        return Array(
            letters.values.sorted { ($0.diedAt, $0.id) > ($1.diedAt, $1.id) }.prefix(limit)
        )
    }

    /// Puts a dead letter back, due now and with no attempts; false if there is none of that id.
    package func requeue(_ id: Int64, in bucket: BucketID) async throws(DatabaseError) -> Bool {
        let rows = try await database.write(
            on: bucket,
            [
                """
                WITH back AS (
                    DELETE FROM jobs.dead
                    WHERE bucket = \(bucket) AND id = \(id)
                    RETURNING bucket, id, kind, version, payload, traceparent, created_at, reason
                )
                INSERT INTO jobs.outbox
                    (bucket, id, kind, version, payload, traceparent, created_at, last_error)
                SELECT bucket, id, kind, version, payload, traceparent, created_at, reason
                FROM back
                """
            ]
        )
        return rows[0].affected == 1
    }

    // MARK: Looking

    /// The buckets whose rows on a shard count: others have moved away, or are on their way here.
    private static let readable: SQL =
        "SELECT bucket FROM control.bucket_owner WHERE state IN ('own', 'fenced')"

    /// How many effects wait, by kind, and how long the oldest due one of each has waited.
    func depths(on shard: ShardID) async throws(DatabaseError) -> [QueueDepth] {
        try await database.rows(
            """
            SELECT kind, count(*),
                GREATEST(0, extract(epoch FROM now() - min(created_at)))::float8
            FROM jobs.outbox
            WHERE bucket IN (\(fragment: Self.readable))
            GROUP BY kind
            ORDER BY kind
            """,
            onShard: shard
        )
    }

    func deadCount(on shard: ShardID) async throws(DatabaseError) -> Int {
        let counts: [Int] = try await database.rows(
            "SELECT count(*) FROM jobs.dead WHERE bucket IN (\(fragment: Self.readable))",
            onShard: shard
        )
        return counts.first ?? 0
    }

    // MARK: Parts

    private func owners(of effects: [ClaimedEffect]) -> [BucketID] {
        Set(effects.map(\.owner)).sorted()
    }

    private func list(_ effects: [ClaimedEffect]) -> SQL {
        """
        unnest(
            \(effects.map(\.owner.rawValue))::smallint[],
            \(effects.map(\.id))::bigint[],
            \(effects.map(\.token))::bigint[]
        )
        """
    }
}

/// What the retry policy said about one effect.
struct Verdict: Sendable {
    var effect: ClaimedEffect
    var decision: RetryPolicy.Decision
}

/// An effect that was given up, with the reason.
package struct DeadLetter: Sendable {
    package let bucket: BucketID
    package let id: Int64
    package let kind: String
    package let version: Int16
    package let payload: String
    package let attempts: Int
    package let createdAt: Timestamp
    package let diedAt: Timestamp
    package let reason: String
}

struct QueueDepth: Sendable {
    let kind: String
    let count: Int
    let oldestSeconds: Double
}

extension ClaimedEffect: RowDecodable {
    package init(row: inout Row) throws(DatabaseError) {
        kind = try row.next()
        version = try row.next()
        owner = try row.next()
        id = try row.next()
        payload = Array(try row.next(String.self).utf8)
        traceparent = try row.next()
        attempts = Int(try row.next(Int32.self))
        createdAt = try row.next()
        token = try row.next()
    }
}

extension DeadLetter: RowDecodable {
    package init(row: inout Row) throws(DatabaseError) {
        bucket = try row.next()
        id = try row.next()
        kind = try row.next()
        version = try row.next()
        payload = try row.next()
        attempts = Int(try row.next(Int32.self))
        createdAt = try row.next()
        diedAt = try row.next()
        reason = try row.next()
    }
}

extension QueueDepth: RowDecodable {
    init(row: inout Row) throws(DatabaseError) {
        kind = try row.next()
        count = try row.next()
        oldestSeconds = try row.next()
    }
}
