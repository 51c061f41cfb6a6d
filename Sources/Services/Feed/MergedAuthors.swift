internal import Contracts
internal import Database
internal import Postgres
internal import Sharding

// Authors whose posts are merged on reading: when that began, and who was delivered to before.

extension FeedStore {
    /// Followers of one answer; far more than any threshold, since those before it are about as many.
    private static let earlyLimit = 1_000_000

    /// How an author stands, when somebody has begun to follow them.
    struct Standing: RowDecodable {
        let isMerged: Bool
        /// As they are counted: nobody is looked at for it.
        let followers: Int

        init(row: inout Row) throws(DatabaseError) {
            isMerged = try row.next()
            followers = try row.next()
        }
    }

    func standing(of author: UserID) async throws(DatabaseError) -> Standing? {
        try await database.row(
            """
            SELECT
                EXISTS (
                    SELECT FROM feed.pull_author
                    WHERE bucket = \(author.bucket) AND author = \(author)
                ),
                coalesce((
                    SELECT value FROM counters.current
                    WHERE bucket = \(author.bucket) AND subject = \(author)
                        AND kind = \(CounterKind.followers.rawValue)
                ), 0)
            """,
            on: author
        )
    }

    /// Since when the author's posts are merged; nil while they are delivered.
    func mergedSince(_ author: UserID) async throws(DatabaseError) -> Timestamp? {
        try await database.row(
            """
            SELECT since FROM feed.pull_author
            WHERE bucket = \(author.bucket) AND author = \(author)
            """,
            on: author
        )
    }

    /// The followers in a range whose follow is older than that id of an edge, in key order.
    ///
    /// Read by the ids of edges, oldest first: however many have followed since, none of them is looked at.
    func followers(
        of author: UserID,
        in range: FollowerRange = FollowerRange(),
        before edge: Int64
    ) async throws(DatabaseError) -> [UserID] {
        let from = range.from, to = range.to
        let rows: [[Int64]] = try await database.rows(
            """
            SELECT ARRAY (
                SELECT early.follower
                FROM (
                    SELECT f.follower_bucket, f.follower
                    FROM graph.follower_active AS f
                    WHERE f.bucket = \(author.bucket) AND f.followed = \(author)
                        AND f.id < \(edge)
                        AND (f.follower_bucket, f.follower) >= (
                            \(from?.bucket.rawValue ?? 0)::smallint, \(from?.rawValue ?? 0)::bigint
                        )
                        AND (f.follower_bucket, f.follower) < (
                            \(to?.bucket.rawValue ?? 1_024)::smallint, \(to?.rawValue ?? 0)::bigint
                        )
                    ORDER BY f.id
                    LIMIT \(Self.earlyLimit)
                ) AS early
                ORDER BY early.follower_bucket, early.follower
            )
            """,
            on: author
        )
        return rows.first?.map(UserID.init(rawValue:)) ?? []
    }
}
