import Coordination
import Database
import EventLoops
import Logging
import Metrics
import Postgres
import Sharding

/// Ends what a coordinator left between two owners, when it and etcd are gone: from the owner rows alone.
///
/// ``StrandedMove`` decides, the shards' own functions act, and those let only one thing happen whoever else is at work.
/// Without this a bucket would wait for a coordinator, and its users with it.
final class StrandedMoves: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    /// A coordinator that works needs some milliseconds from release to activation.
    static let patience = Duration.seconds(2)

    private let database: Database
    private let ended: Counter
    private let log: Logger
    private let now: () -> UInt64

    /// When each attempt was first seen, in milliseconds of the loop's clock.
    private var firstSeen: [ShardID: [Sighting: UInt64]] = [:]

    private struct Sighting: Hashable {
        let attempt: String
        let state: OwnerRow.State
    }

    /// `now` gives milliseconds of one clock; the loop's where none is given.
    init(
        database: Database,
        metrics: MetricsRegistry,
        log: Logger,
        now: (() -> UInt64)? = nil
    ) {
        self.database = database
        self.log = log
        self.now = now ?? { [loop = database.loop] in loop.milliseconds }
        ended = metrics.counter(
            "tessera_stranded_moves_total",
            help: "Attempts to move buckets that a worker ended for want of a coordinator."
        )
    }

    /// Looks at one shard, and ends what has been between two owners for too long.
    func look(at shard: ShardID) async throws {
        let rows: [Stranded] = try await database.rows(
            """
            SELECT bucket, state, epoch, attempt, next_shard
            FROM control.bucket_owner
            WHERE state IN ('fenced', 'released')
            ORDER BY bucket
            """,
            onShard: shard
        )
        let now = now()
        let groups = Dictionary(grouping: rows) {
            Sighting(attempt: $0.row.attempt ?? "", state: $0.row.state)
        }
        var seen: [Sighting: UInt64] = [:]
        for sighting in groups.keys { seen[sighting] = firstSeen[shard]?[sighting] ?? now }
        firstSeen[shard] = seen
        for (sighting, group) in groups {
            let seenFor = Duration.milliseconds(Int64(now - seen[sighting, default: now]))
            if seenFor >= Self.patience { try await end(group, on: shard, seenFor: seenFor) }
        }
    }

    private func end(_ group: [Stranded], on shard: ShardID, seenFor: Duration) async throws {
        let buckets = group.map(\.bucket.rawValue)
        switch StrandedMove.action(for: group.map(\.row), seenFor: seenFor) {
        case .wait: return
        case .giveUp(let attempt, let epochs):
            try await database.write(
                onShard: shard,
                [
                    """
                    SELECT control.give_up(\("\(attempt)"), \(buckets), \(epochs.map(\.rawValue)))
                    """
                ]
            )
            note("given back to its source", attempt, on: shard, buckets.count)
        case .activate(let attempt, _, let target):
            await database.meet(target, through: shard)
            // A target that writes already has a source that only does not know it.
            let waiting: [Int] = try await database.rows(
                """
                SELECT count(*) FROM control.bucket_owner
                WHERE bucket = ANY (\(buckets)) AND state = 'incoming'
                """,
                onShard: target
            )
            guard waiting != [0] else { return }
            try await database.write(
                onShard: target,
                ["SELECT control.activate(\("\(attempt)"), \(buckets))"]
            )
            note("activated on its target", attempt, on: target, buckets.count)
        }
    }

    private func note(_ what: String, _ attempt: FenceAttempt, on shard: ShardID, _ count: Int) {
        ended.add(1)
        log.notice(
            "a move that nobody moved on: \(what)",
            metadata: ["attempt": "\(attempt)", "shard": "\(shard)", "buckets": "\(count)"]
        )
    }
}

/// An owner row between two owners.
private struct Stranded: RowDecodable {
    let bucket: BucketID
    let row: OwnerRow

    init(row: inout Row) throws(DatabaseError) {
        bucket = try row.next()
        let name: String = try row.next()
        guard let state = OwnerRow.State(rawValue: name) else {
            throw .decoding("an owner row is in state \(name)")
        }
        self.row = OwnerRow(
            state: state,
            epoch: Epoch(rawValue: try row.next()),
            attempt: try row.next(),
            next: try row.next(String?.self).flatMap { ShardID($0) }
        )
    }
}
