package import Contracts
package import Database
package import Jobs
package import Postgres
package import Sharding

/// Every statement of Feed.
///
/// Whatever inserts entries for one reader because of a follow, or deletes them because of an unfollow, takes
/// the reader's feed lock in a statement of its own. Without it a clean-up that began before a re-follow
/// could delete what the backfill has just found in place.
package struct FeedStore: Sendable {
    let database: Database

    package init(database: Database) {
        self.database = database
    }

    package func shard(of bucket: BucketID) -> ShardID { database.shard(of: bucket) }

    // MARK: Fan-out

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

    // MARK: One reader's feed

    /// Whether anything is delivered to the reader.
    package func isKept(_ reader: UserID) async throws(DatabaseError) -> Bool {
        let active: [Bool] = try await database.rows(
            "SELECT active FROM feed.reader WHERE bucket = \(reader.bucket) AND reader = \(reader)",
            on: reader
        )
        return active == [true]
    }

    /// Inserts posts of one author, if the reader's feed is kept and they still follow that author.
    package func backfill(
        _ posts: [PostReference],
        for reader: UserID
    ) async throws(DatabaseError) {
        _ = try await database.write(on: reader, [lock(reader), insertion(of: posts, for: reader)])
    }

    /// Each author is checked against the reader's own rows in the statement that inserts.
    private func insertion(of posts: [PostReference], for reader: UserID) -> SQL {
        """
        INSERT INTO feed.entry (bucket, reader, post_id, author)
        SELECT f.bucket, f.user_id, p.id, p.author
        FROM unnest(
            \(posts.map(\.id.rawValue))::bigint[],
            \(posts.map(\.author.rawValue))::bigint[]
        ) AS p (id, author)
        JOIN graph.following_active AS f
            ON f.bucket = \(reader.bucket) AND f.user_id = \(reader) AND f.target_id = p.author
        WHERE EXISTS (
            SELECT FROM feed.reader
            WHERE bucket = \(reader.bucket) AND reader = \(reader) AND active
        )
        ON CONFLICT DO NOTHING
        """
    }

    /// Deletes the entries of an author whom the reader does not follow any more.
    package func cleanUp(
        author: UserID,
        for reader: UserID
    ) async throws(DatabaseError) {
        _ = try await database.write(
            on: reader,
            [
                lock(reader),
                """
                DELETE FROM feed.entry
                WHERE bucket = \(reader.bucket) AND reader = \(reader) AND author = \(author)
                    AND NOT EXISTS (
                        SELECT FROM graph.following_active
                        WHERE bucket = \(reader.bucket) AND user_id = \(reader)
                            AND target_id = \(author)
                    )
                """,
            ]
        )
    }

    private func lock(_ reader: UserID) -> SQL {
        "SELECT pg_advisory_xact_lock(hashint8extended(\(reader)::bigint, 1))"
    }

    package func activeReaders(days: Int) async throws(DatabaseError) -> Int {
        let answers: [(ShardID, [Int])] = try await database.everyShard(
            """
            SELECT count(*)
            FROM feed.reader
            WHERE last_read_at > now() - \(Double(days))::float8 * interval '1 day'
                AND bucket IN (SELECT bucket FROM control.bucket_owner WHERE state = 'own')
            """
        )
        return answers.reduce(0) { $0 + ($1.1.first ?? 0) }
    }

    // MARK: Rebuilding

    /// Begins to keep the reader's feed. Posts that fan-out skips after this commit do not exist: what it
    /// skipped before, the rebuild finds. Gives the generation that the rebuild finishes.
    package func activate(_ reader: UserID) async throws(DatabaseError) -> Int64 {
        let rows = try await database.write(
            on: reader,
            [
                """
                INSERT INTO feed.reader AS r (bucket, reader, active)
                VALUES (\(reader.bucket), \(reader), true)
                ON CONFLICT (bucket, reader) DO UPDATE
                SET active = true,
                    rebuilt = r.rebuilt AND r.active,
                    generation = r.generation + CASE WHEN r.active THEN 0 ELSE 1 END,
                    last_read_at = now()
                RETURNING generation
                """
            ]
        )
        return try rows[0].decode(as: Int64.self)[0]
    }

    /// Whom the reader follows and whose posts are delivered, as far as one shard knows.
    package func following(of reader: UserID) async throws(DatabaseError) -> [UserID] {
        try await database.rows(
            """
            SELECT target_id
            FROM graph.following_active
            WHERE bucket = \(reader.bucket) AND user_id = \(reader)
            ORDER BY target_id
            """,
            on: reader
        )
    }

    /// Ends a rebuild: inserts what was found, drops entries of authors who are not followed, and says below
    /// which post the feed knows nothing. A later return makes it a no-op but for the inserts.
    package func finishRebuild(
        of reader: UserID,
        generation: Int64,
        posts: [PostReference],
        floor: PostID
    ) async throws(DatabaseError) {
        _ = try await database.write(
            on: reader,
            [
                lock(reader),
                """
                DELETE FROM feed.entry AS e
                WHERE e.bucket = \(reader.bucket) AND e.reader = \(reader)
                    AND NOT EXISTS (
                        SELECT FROM graph.following_active AS f
                        WHERE f.bucket = e.bucket AND f.user_id = e.reader
                            AND f.target_id = e.author
                    )
                """,
                insertion(of: posts, for: reader),
                """
                UPDATE feed.reader
                SET rebuilt = true, floor = \(floor)
                WHERE bucket = \(reader.bucket) AND reader = \(reader) AND active
                    AND generation = \(generation)
                """,
            ]
        )
    }

    // MARK: Reading

    /// One reader's part of a home timeline, from one snapshot of one shard; nil if their feed is not ready.
    ///
    /// The reader's own rows decide what is shown: an entry that outlived its follow is not.
    package func skeleton(
        of reader: UserID,
        above lower: Int64,
        below upper: Int64,
        limit: Int,
        pullAuthors: [UserID]
    ) async throws(DatabaseError) -> FeedSkeleton? {
        let rows: [FeedSkeleton] = try await database.rows(
            """
            SELECT r.floor, r.generation, r.last_read_at < now() - interval '1 hour',
                ARRAY (
                    SELECT e.post_id
                    FROM feed.entry AS e
                    WHERE e.bucket = r.bucket AND e.reader = r.reader
                        AND e.post_id > greatest(r.floor, \(lower)::bigint)
                        AND e.post_id < \(upper)
                        AND EXISTS (
                            SELECT FROM graph.following_active AS f
                            WHERE f.bucket = e.bucket AND f.user_id = e.reader
                                AND f.target_id = e.author
                        )
                        AND NOT EXISTS (
                            SELECT FROM graph.hidden AS h
                            WHERE h.bucket = e.bucket AND h.user_id = e.reader
                                AND h.target_id = e.author
                        )
                    ORDER BY e.post_id DESC
                    LIMIT \(limit)
                ),
                ARRAY (
                    SELECT f.target_id
                    FROM graph.following_active AS f
                    WHERE f.bucket = r.bucket AND f.user_id = r.reader
                        AND f.target_id = ANY (\(pullAuthors.map(\.rawValue))::bigint[])
                        AND NOT EXISTS (
                            SELECT FROM graph.hidden AS h
                            WHERE h.bucket = f.bucket AND h.user_id = f.user_id
                                AND h.target_id = f.target_id
                        )
                )
            FROM feed.reader AS r
            WHERE r.bucket = \(reader.bucket) AND r.reader = \(reader) AND r.active AND r.rebuilt
            """,
            on: reader
        )
        return rows.first
    }

    /// Remembers that the reader was here; false if their feed has been given up meanwhile.
    package func touch(_ reader: UserID) async throws(DatabaseError) {
        _ = try await database.write(
            on: reader,
            [
                """
                UPDATE feed.reader
                SET last_read_at = now()
                WHERE bucket = \(reader.bucket) AND reader = \(reader) AND active
                """
            ]
        )
    }

    /// The authors whose posts are merged on reading; asks every shard, and leaves out those that do not
    /// answer. Rows of buckets that the shard does not own are as true as others, since an author is marked for
    /// ever; leaving them out would lose an author while their bucket is handed over.
    package func pullAuthorsOnEachShard() async -> [ShardID: [UserID]] {
        let answers: [ShardAnswer<Int64>] = await database.eachShard(
            "SELECT author FROM feed.pull_author"
        )
        var found: [ShardID: [UserID]] = [:]
        for answer in answers {
            guard case .success(let authors) = answer.result else { continue }
            found[answer.shard] = authors.map(UserID.init(rawValue:))
        }
        return found
    }

    // MARK: Sweeping

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

/// What a reader's shard knows of a home timeline.
package struct FeedSkeleton: RowDecodable, Sendable {
    package let floor: PostID
    package let generation: Int64
    /// Whether it is time to note that the reader was here.
    package let wantsTouch: Bool
    package let entries: [PostID]
    /// Authors whose posts are merged, as far as the reader follows them.
    package let pulled: [UserID]

    package init(row: inout Row) throws(DatabaseError) {
        floor = try row.next()
        generation = try row.next()
        wantsTouch = try row.next()
        entries = try row.next()
        pulled = try row.next()
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
