package import Database
package import EventLoops
package import Objects
import Postgres
package import Sharding

/// Brings the log's hours into the object store, one file for each hour of each shard.
///
/// An hour is claimed in the shard's ledger, written as a whole under a name that follows from shard and hour, and
/// then entered as exported. Whoever dies in between leaves a claim that runs out; the next one writes the same lines
/// under the same name. So every interaction is exported at least once, and an hour never twice.
package struct InteractionExport: Sendable {
    /// How long after its end an hour is exported: far longer than any insert into it may take.
    package static let grace = Duration.seconds(300)
    /// How long one worker may take for an hour before another one may begin with it.
    package static let lease = Duration.seconds(600)
    /// Rows that are read, and compressed, at once.
    static let pageSize = 1_000
    /// An hour of one shard is never larger.
    static let sizeLimit = 8 << 30
    /// Days back for which hours are looked for; older ones were dropped.
    private static let daysBack = 62

    private let database: Database
    private let objects: DirectoryStore
    private let offload: Offload

    /// The bytes are compressed on the threads of `offload`.
    package init(database: Database, objects: DirectoryStore, offload: Offload) {
        self.database = database
        self.objects = objects
        self.offload = offload
    }

    /// Exports the oldest hour of a shard that is over, not exported, and claimed by nobody; nil if there is none.
    package func exportNext(
        of shard: ShardID,
        grace: Duration = grace
    ) async throws -> ExportedHour? {
        guard let hour = try await claim(on: shard, grace: grace) else { return nil }
        return try await export(hour, of: shard)
    }

    /// The name of the file of an hour: `interactions/2026-11-21/13/s1.ndjson.gz`.
    package static func object(of hour: Timestamp, on shard: ShardID) -> ObjectName {
        let text = hour.iso8601
        let day = text.prefix(10), clock = text.dropFirst(11).prefix(2)
        guard let name = ObjectName("interactions/\(day)/\(clock)/\(shard.name).ndjson.gz") else {
            preconditionFailure("a shard's name can be part of an object's")
        }
        return name
    }

    // MARK: Steps

    private func claim(
        on shard: ShardID,
        grace: Duration
    ) async throws(DatabaseError) -> Timestamp? {
        let rows = try await database.write(
            onShard: shard,
            [
                """
                WITH due AS (
                    SELECT h.hour
                    FROM generate_series(
                        greatest(
                            (SELECT min(hour) FROM interactions.export) + interval '1 hour',
                            date_trunc('hour', now(), 'UTC')
                                - \(Int32(Self.daysBack))::integer * interval '1 day'
                        ),
                        date_trunc(
                            'hour',
                            now() - \(Double(grace.components.seconds))::float8
                                * interval '1 second',
                            'UTC'
                        ) - interval '1 hour',
                        interval '1 hour'
                    ) AS h (hour)
                    WHERE NOT EXISTS (
                        SELECT
                        FROM interactions.export AS e
                        WHERE e.hour = h.hour
                            AND (e.exported_at IS NOT NULL OR e.claimed_until > now())
                    )
                    ORDER BY h.hour
                    LIMIT 1
                )
                INSERT INTO interactions.export AS e (hour, claimed_until)
                SELECT hour,
                    now() + \(Double(Self.lease.components.seconds))::float8 * interval '1 second'
                FROM due
                ON CONFLICT (hour) DO UPDATE SET claimed_until = excluded.claimed_until
                WHERE e.exported_at IS NULL AND e.claimed_until <= now()
                RETURNING hour
                """
            ]
        )
        return try rows[0].first()
    }

    private func export(_ hour: Timestamp, of shard: ShardID) async throws -> ExportedHour {
        let name = Self.object(of: hour, on: shard)
        let upload = try await objects.begin(limit: Self.sizeLimit)
        do {
            let count = try await write(hour, of: shard, into: upload)
            try await upload.commit(as: name)
            let exported = ExportedHour(
                hour: hour,
                object: name,
                rows: count,
                bytes: upload.count
            )
            try await enter(exported, on: shard)
            return exported
        } catch {
            await upload.abandon()
            throw error
        }
    }

    private func write(
        _ hour: Timestamp,
        of shard: ShardID,
        into upload: ObjectUpload
    ) async throws -> Int {
        let gzip = GzipStream()
        let offload = offload
        var count = 0
        var after: (Timestamp, Int64) = (hour, .min)
        var page: [LoggedInteraction]
        repeat {
            page = try await rows(of: hour, after: after, on: shard)
            count += page.count
            if let last = page.last { after = (last.loggedAt, last.id) }
            let isLast = page.count < Self.pageSize
            let lines = page
            let bytes = try await offload.run {
                gzip.compress(LoggedInteraction.lines(lines), finish: isLast)
            }
            try await upload.write(bytes)
        } while page.count == Self.pageSize
        return count
    }

    private func rows(
        of hour: Timestamp,
        after last: (at: Timestamp, id: Int64),
        on shard: ShardID
    ) async throws(DatabaseError) -> [LoggedInteraction] {
        try await database.rows(
            """
            SELECT \(fragment: LoggedInteraction.columns)
            FROM interactions.event
            WHERE logged_at >= \(hour) AND logged_at < \(hour + .seconds(3_600))
                AND (logged_at, id) > (\(last.at)::timestamptz, \(last.id)::bigint)
            ORDER BY logged_at, id
            LIMIT \(Self.pageSize)
            """,
            onShard: shard
        )
    }

    private func enter(_ hour: ExportedHour, on shard: ShardID) async throws(DatabaseError) {
        try await database.write(
            onShard: shard,
            [
                """
                UPDATE interactions.export
                SET exported_at = now(), claimed_until = NULL, object = \(hour.object.text),
                    rows = \(hour.rows), bytes = \(hour.bytes)
                WHERE hour = \(hour.hour)
                """
            ]
        )
    }
}

/// What became of an hour.
package struct ExportedHour: Sendable, Equatable {
    package let hour: Timestamp
    package let object: ObjectName
    package let rows: Int
    /// Of the file, compressed.
    package let bytes: Int
}
