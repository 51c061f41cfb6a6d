package import Contracts
internal import Database
package import Postgres
package import Sharding

// Statements of reading.

extension FeedStore {
    /// One reader's part of a home timeline, from one snapshot of one shard; nil if their feed is not ready.
    ///
    /// The reader's own rows decide what is shown: an entry that outlived its follow is not.
    ///
    /// As many rows are read as are taken, but for those that are not shown, and for the count of entries between the
    /// top and the window's far end, which looks at the index alone.
    package func skeleton(
        of reader: UserID,
        in window: FeedWindow,
        pullAuthors: [UserID]
    ) async throws(DatabaseError) -> FeedSkeleton? {
        let order = window.isAscending ? "ASC" : "DESC"
        let rows: [FeedSkeleton] = try await database.rows(
            """
            SELECT r.floor, r.generation, r.last_read_at < now() - interval '1 hour',
                coalesce(newest.posts, '{}'), coalesce(newest.authors, '{}'),
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
                ),
                CASE WHEN \(window.top != nil)::boolean THEN (
                    SELECT count(*)
                    FROM (
                        SELECT
                        FROM feed.entry AS e
                        WHERE e.bucket = r.bucket AND e.reader = r.reader
                            AND e.post_id >= \(window.top ?? .max)::bigint
                        LIMIT \(HomeTimeline.bound)
                    ) AS newer
                ) ELSE 0 END
            FROM feed.reader AS r
            CROSS JOIN LATERAL (
                SELECT array_agg(e.post_id ORDER BY e.post_id DESC) AS posts,
                    array_agg(e.author ORDER BY e.post_id DESC) AS authors
                FROM (
                    SELECT e.post_id, e.author
                    FROM feed.entry AS e
                    WHERE e.bucket = r.bucket AND e.reader = r.reader
                        AND e.post_id > greatest(r.floor, \(window.above)::bigint)
                        AND e.post_id < \(window.below)
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
                    ORDER BY e.post_id \(unsafe: order)
                    LIMIT \(window.limit)
                ) AS e
            ) AS newest
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
}

/// What a reader's shard knows of a home timeline.
package struct FeedSkeleton: RowDecodable, Sendable {
    package let floor: PostID
    package let generation: Int64
    /// Whether it is time to note that the reader was here.
    package let wantsTouch: Bool
    package let references: [PostReference]
    /// Authors whose posts are merged, as far as the reader follows them.
    package let pulled: [UserID]
    /// Entries between the top and the window's far end, shown or not; counted up to the bound of a timeline.
    package let newer: Int

    package init(row: inout Row) throws(DatabaseError) {
        floor = try row.next()
        generation = try row.next()
        wantsTouch = try row.next()
        let posts: [PostID] = try row.next()
        let authors: [UserID] = try row.next()
        guard posts.count == authors.count else {
            throw .decoding("\(posts.count) entries of \(authors.count) authors")
        }
        references = zip(posts, authors).map { PostReference(id: $0, author: $1) }
        pulled = try row.next()
        newer = Int(try row.next(Int64.self))
    }

    package var entries: [PostID] { references.map(\.id) }
}
