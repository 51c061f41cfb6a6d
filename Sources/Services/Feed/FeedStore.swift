package import Contracts
package import Database
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
}
