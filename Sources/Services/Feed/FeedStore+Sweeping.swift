internal import Database
package import Postgres
package import Sharding

// Statements of what time does to feeds.

extension FeedStore {
    /// Gives up the feeds of readers of one bucket who have been away, and their entries with them.
    package func retireIdle(
        in bucket: BucketID,
        days: Int,
        limit: Int
    ) async throws(DatabaseError) -> Int {
        let rows = try await database.write(
            on: bucket,
            [
                """
                WITH idle AS (
                    SELECT bucket, reader
                    FROM feed.reader
                    WHERE bucket = \(bucket) AND active
                        AND last_read_at < now() - \(Double(days))::float8 * interval '1 day'
                    LIMIT \(limit)
                    FOR UPDATE SKIP LOCKED
                ), retired AS (
                    UPDATE feed.reader AS r
                    SET active = false, rebuilt = false
                    FROM idle
                    WHERE r.bucket = idle.bucket AND r.reader = idle.reader
                    RETURNING r.bucket, r.reader
                ), dropped AS (
                    DELETE FROM feed.entry AS e
                    USING retired
                    WHERE e.bucket = retired.bucket AND e.reader = retired.reader
                )
                SELECT FROM retired
                """
            ]
        )
        return rows[0].count
    }

    /// Trims the feeds of one bucket that have grown past the bound and its slack, and raises their floors in
    /// the same statement, so that no reader takes a trimmed feed for a whole one. The generation rises too: a
    /// rebuild that began before cannot lower the floor again.
    package func trim(in bucket: BucketID) async throws(DatabaseError) -> Int {
        let most = HomeTimeline.bound + HomeTimeline.trimSlack
        let rows = try await database.write(
            on: bucket,
            [
                """
                WITH long AS (
                    SELECT r.bucket, r.reader
                    FROM feed.reader AS r
                    WHERE r.bucket = \(bucket) AND r.rebuilt
                        AND EXISTS (
                            SELECT FROM feed.entry AS e
                            WHERE e.bucket = r.bucket AND e.reader = r.reader
                            ORDER BY e.post_id DESC
                            OFFSET \(most)
                        )
                ), cut AS (
                    SELECT long.bucket, long.reader,
                        (
                            SELECT e.post_id
                            FROM feed.entry AS e
                            WHERE e.bucket = long.bucket AND e.reader = long.reader
                            ORDER BY e.post_id DESC
                            OFFSET \(HomeTimeline.bound)
                            LIMIT 1
                        ) AS floor
                    FROM long
                ), raised AS (
                    UPDATE feed.reader AS r
                    SET floor = greatest(r.floor, cut.floor), generation = r.generation + 1
                    FROM cut
                    WHERE r.bucket = cut.bucket AND r.reader = cut.reader
                        AND cut.floor IS NOT NULL
                    RETURNING r.bucket, r.reader, r.floor
                )
                DELETE FROM feed.entry AS e
                USING raised
                WHERE e.bucket = raised.bucket AND e.reader = raised.reader
                    AND e.post_id <= raised.floor
                """
            ]
        )
        return rows[0].affected
    }
}
