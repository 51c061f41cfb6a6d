package import Contracts
internal import Database
package import Jobs
package import Postgres
internal import Sharding

// Statements of fan-out: who follows, and what is put into many feeds at once.

extension FeedStore {
    /// The first followers in key order; nothing for an author whose posts are merged on reading.
    package func followers(
        of author: UserID,
        atMost limit: Int
    ) async throws(DatabaseError) -> [UserID] {
        let rows: [[Int64]] = try await database.rows(
            """
            SELECT ARRAY (
                SELECT follower
                FROM graph.follower_active
                WHERE bucket = \(author.bucket) AND followed = \(author)
                    AND NOT EXISTS (\(fragment: pulled(author)))
                ORDER BY follower_bucket, follower
                LIMIT \(limit)
            )
            """,
            on: author
        )
        return rows.first?.map(UserID.init(rawValue:)) ?? []
    }

    /// The first follower of each range of `size`, and how many followers there are, counted no further than
    /// one past the threshold; nothing for an author whose posts are merged on reading.
    package func rangeStarts(
        of author: UserID,
        size: Int,
        threshold: Int
    ) async throws(DatabaseError) -> (starts: [UserID], followers: Int) {
        let rows: [RangeStart] = try await database.rows(
            """
            SELECT follower, total
            FROM (
                SELECT follower,
                    row_number() OVER (ORDER BY follower_bucket, follower) AS number,
                    count(*) OVER () AS total
                FROM (
                    SELECT follower_bucket, follower
                    FROM graph.follower_active
                    WHERE bucket = \(author.bucket) AND followed = \(author)
                        AND NOT EXISTS (\(fragment: pulled(author)))
                    ORDER BY follower_bucket, follower
                    LIMIT \(threshold + 1)
                ) AS counted
            ) AS numbered
            WHERE (number - 1) % \(size) = 0
            ORDER BY number
            """,
            on: author
        )
        return (rows.map(\.follower), rows.first?.total ?? 0)
    }

    /// The row that says that an author's posts are merged on reading.
    private func pulled(_ author: UserID) -> SQL {
        """
        SELECT FROM feed.pull_author WHERE bucket = \(author.bucket) AND author = \(author)
        """
    }

    /// The followers of one range, in key order.
    package func followers(
        of author: UserID,
        in range: FollowerRange
    ) async throws(DatabaseError) -> [UserID] {
        let from = range.from, to = range.to
        return try await database.rows(
            """
            SELECT follower
            FROM graph.follower_active
            WHERE bucket = \(author.bucket) AND followed = \(author)
                AND (follower_bucket, follower)
                    >= (\(from?.bucket.rawValue ?? 0)::smallint, \(from?.rawValue ?? 0)::bigint)
                AND (follower_bucket, follower)
                    < (\(to?.bucket.rawValue ?? 1_024)::smallint, \(to?.rawValue ?? 0)::bigint)
            ORDER BY follower_bucket, follower
            """,
            on: author
        )
    }

    /// Remembers that the author's posts are merged on reading, for ever.
    package func markPull(
        _ author: UserID,
        followers: Int
    ) async throws(DatabaseError) {
        _ = try await database.write(
            on: author,
            [
                """
                INSERT INTO feed.pull_author (bucket, author, followers)
                VALUES (\(author.bucket), \(author), \(followers))
                ON CONFLICT DO NOTHING
                """
            ]
        )
    }

    /// Says to all app nodes that an author has published whose posts are merged: pages that lack it are dropped.
    package func tellOfMerged(_ author: UserID) async throws(DatabaseError) {
        _ = try await database.write(
            on: author,
            ["SELECT control.withdraw(7::smallint, \(author)::bigint)"]
        )
    }

    package func isPull(_ author: UserID) async throws(DatabaseError) -> Bool {
        let known: [Bool] = try await database.rows(
            """
            SELECT EXISTS (
                SELECT FROM feed.pull_author
                WHERE bucket = \(author.bucket) AND author = \(author)
            )
            """,
            on: author
        )
        return known == [true]
    }

    /// Completes a fan-out and enqueues its ranges, in one transaction.
    package func replace(
        _ effect: ClaimedEffect,
        with children: [Effect]
    ) async throws(DatabaseError) {
        _ = try await database.write(
            on: effect.owner,
            [effect.completion(thenEnqueue: children)]
        )
    }

    /// Puts a post into the feeds of readers of one shard whose feeds are kept, which are the `known` ones for
    /// sure and any of the `asked` ones; all of the batch, if they are nil.
    ///
    /// Repeating it changes nothing. With `mayBeThere` false it throws a unique violation, and has no effect,
    /// where a feed has the post already: a third of the work of an insert is looking for that beforehand. Gives
    /// readers whose feeds it found to be kept. It waits for a bucket that is moving only if `holds` is true.
    @discardableResult
    package func deliver(
        _ post: PostReference,
        to batch: FanOut.Batch,
        known: [UserID] = [],
        asked: [UserID]? = nil,
        mayBeThere: Bool = true,
        holds: Bool = false
    ) async throws(DatabaseError) -> [UserID] {
        let asked = asked ?? batch.readers
        let conflict: SQL = mayBeThere ? " ON CONFLICT DO NOTHING" : ""
        var statements: [SQL] = []
        if !known.isEmpty { statements.append(entries(of: post, for: known) + conflict) }
        if !asked.isEmpty {
            statements.append(
                entries(of: post, for: asked)
                    // A subquery and no join: one index probe a reader, whatever the planner believes.
                    + """

                    WHERE (
                        SELECT r.active
                        FROM feed.reader AS r
                        WHERE r.bucket = ((f.reader >> 6) & 1023)::smallint AND r.reader = f.reader
                    )
                    """ + conflict + " RETURNING reader"
            )
        }
        let rows = try await database.write(on: batch.buckets, holds: holds, statements)
        return asked.isEmpty ? [] : try rows[rows.count - 1].decode()
    }

    private func entries(of post: PostReference, for readers: [UserID]) -> SQL {
        """
        INSERT INTO feed.entry (bucket, reader, post_id, author)
        SELECT ((f.reader >> 6) & 1023)::smallint, f.reader, \(post.id)::bigint,
            \(post.author)::bigint
        FROM unnest(\(readers.map(\.rawValue))::bigint[]) AS f (reader)
        """
    }

    package func withdraw(
        _ post: PostReference,
        from batch: FanOut.Batch,
        holds: Bool = false
    ) async throws(DatabaseError) {
        _ = try await database.write(
            on: batch.buckets,
            holds: holds,
            [
                """
                DELETE FROM feed.entry AS e
                USING unnest(\(batch.readers.map(\.rawValue))::bigint[]) AS f (reader)
                WHERE e.bucket = ((f.reader >> 6) & 1023)::smallint AND e.reader = f.reader
                    AND e.post_id = \(post.id)
                """
            ]
        )
    }
}

private struct RangeStart: RowDecodable {
    let follower: UserID
    let total: Int

    init(row: inout Row) throws(DatabaseError) {
        follower = try row.next()
        total = try row.next()
    }
}
