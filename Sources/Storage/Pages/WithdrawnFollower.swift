package import Database
package import EventLoops
package import Metrics
internal import Postgres
package import Sharding

/// Asks every shard each second what has been withdrawn there, for one loop of an app node.
///
/// Each shard by itself: one that does not answer keeps nobody from hearing the others, and ends by its silence the
/// serving of rendered pages of those whom it owns.
package final class WithdrawnFollower: @unchecked Sendable {
    // @unchecked: touched on its loop only.
    package static let interval = Duration.seconds(1)

    private let loop: EventLoop
    private let database: Database
    private let limits: WithdrawnLog.Limits
    package private(set) var log: WithdrawnLog
    private var asked: Set<ShardID> = []
    private var timer: LoopTimer?
    private var isStopped = false
    private let age: Gauge
    private let rows: Counter
    private let failures: Counter

    package init(
        loop: EventLoop,
        database: Database,
        limits: WithdrawnLog.Limits,
        metrics: MetricsRegistry
    ) {
        self.loop = loop
        self.database = database
        self.limits = limits
        log = WithdrawnLog(limits: limits)
        age = metrics.gauge(
            "tessera_withdrawn_age_seconds",
            help: "Since the shard that was silent the longest was asked what has been withdrawn.",
            labels: [(name: "loop", value: String(loop.index))]
        )
        rows = metrics.counter(
            "tessera_withdrawn_rows_total",
            help: "Rows that were read from the shards' logs of withdrawals."
        )
        failures = metrics.counter(
            "tessera_withdrawn_failures_total",
            help: "Looks at a shard's log of withdrawals that brought no answer."
        )
    }

    /// Begins to ask; on the loop.
    package func start() {
        loop.assertOnLoop()
        askAll()
    }

    package func stop() {
        isStopped = true
        timer?.cancel()
    }

    /// Milliseconds of the clock by which looks are timed: of now, and not of the turn's beginning, since a process
    /// that was stopped in the middle of a turn must not take what it has heard for new.
    package static var now: UInt64 { EventLoop.nanoseconds / 1_000_000 }

    private func askAll() {
        guard !isStopped else { return }
        let now = Self.now
        log.know(database.shards)
        log.forget(at: now)
        for shard in log.shards where asked.insert(shard).inserted {
            loop.spawn { await self.ask(shard) }
        }
        age.set(Double(log.age(at: now) ?? now) / 1_000)
        timer = loop.after(Self.interval) { self.askAll() }
    }

    private func ask(_ shard: ShardID) async {
        let askedAt = Self.now
        do {
            let answers: [WithdrawnAnswer] = try await database.rows(
                Self.question(from: log.position(on: shard), limit: limits.rows),
                onShard: shard
            )
            if let answer = answers.first {
                let rows = answer.rows(limit: limits.rows)
                self.rows.add(rows.rows.count)
                log.heard(shard, rows, askedAt: askedAt)
                // As of this look or later: the read was held against them.
                if let owners = database.owners(of: shard),
                    owners.version != log.ownersVersion(of: shard)
                {
                    log.owns(shard, OwnedBuckets(owners), by: Self.now)
                }
            }
        } catch {
            // Its silence is what counts; it is asked again in a second.
            failures.add()
        }
        asked.remove(shard)
    }

    /// One snapshot for both: how far the log is, and what is in it from a transaction on.
    private static func question(from position: Int64?, limit: Int) -> SQL {
        """
        SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
            ARRAY (
                SELECT field.value
                FROM (
                    SELECT xact, id, kind, subject, other
                    FROM control.withdrawn
                    WHERE xact >= \(position ?? .max)
                    ORDER BY xact, id
                    LIMIT \(limit + 1)
                ) AS w
                CROSS JOIN LATERAL unnest(ARRAY[w.xact, w.kind::bigint, w.subject, w.other])
                    WITH ORDINALITY AS field (value, place)
                ORDER BY w.xact, w.id, field.place
            )
        """
    }
}

/// Deletes rows of a shard's log that no node asks for any more.
package enum WithdrawnSweep {
    /// Far longer than a look may be behind, and than any page lives.
    private static let minutes = 10
    /// Rows that one sweep deletes.
    package static let limit = 5_000

    /// Sweeps one shard; any number of workers may. The rows have no bucket and no fence.
    package static func sweep(_ shard: ShardID, of database: Database) async throws {
        try await database.write(
            onShard: shard,
            [
                """
                DELETE FROM control.withdrawn
                WHERE (xact, id) IN (
                    SELECT xact, id
                    FROM control.withdrawn
                    WHERE logged_at < now() - \(Double(minutes))::float8 * interval '1 minute'
                    ORDER BY xact, id
                    LIMIT \(limit)
                )
                """
            ]
        )
    }
}

private struct WithdrawnAnswer: RowDecodable {
    /// Of one row: transaction, kind, subject and other.
    private static let fields = 4

    private let position: Int64
    private let numbers: [Int64]

    init(row: inout Row) throws(DatabaseError) {
        position = try row.next()
        numbers = try row.next()
    }

    func rows(limit: Int) -> WithdrawnRows {
        let count = numbers.count / Self.fields
        let rows = (0..<min(count, limit)).compactMap { index -> LoggedWithdrawal? in
            let at = index * Self.fields
            return Withdrawal(
                kind: numbers[at + 1],
                subject: numbers[at + 2],
                other: numbers[at + 3]
            ).map { LoggedWithdrawal(transaction: numbers[at], $0) }
        }
        return WithdrawnRows(position: position, rows: rows, isWhole: count <= limit)
    }
}
