import Contracts
import Database
import Postgres
import Sharding

/// A viewer's marks on posts: likes lie beside each post, bookmarks beside the viewer.
struct MarkStore: Sendable {
    let database: Database
    let favourites: FavouriteStore
    let bookmarks: BookmarkStore

    /// Marks on the newest posts of the viewer's home timeline, as far as the viewer's own shard knows them.
    ///
    /// One statement that can travel beside the one which reads the timeline. Likes of posts whose bucket lies on
    /// the same shard come with it, read in one snapshot with the row that says that it does.
    func home(of viewer: UserID, limit: Int) async throws(DatabaseError) -> ViewerMarks {
        let rows: [MarkRow] = try await database.rows(
            """
            WITH newest AS MATERIALIZED (
                (
                    SELECT post_id
                    FROM feed.delivered
                    WHERE bucket = \(viewer.bucket) AND reader = \(viewer)
                    ORDER BY post_id DESC
                    LIMIT \(limit)
                )
                UNION ALL
                (
                    SELECT id
                    FROM posts.post
                    WHERE bucket = \(viewer.bucket) AND author = \(viewer)
                      AND deleted_at IS NULL AND in_reply_to IS NULL
                      AND (visibility < 3 OR close_friends)
                    ORDER BY id DESC
                    LIMIT \(limit)
                )
            )
            SELECT n.post_id,
                EXISTS (
                    SELECT
                    FROM posts.bookmark AS b
                    WHERE b.bucket = \(viewer.bucket) AND b.actor = \(viewer) AND b.post = n.post_id
                ),
                CASE WHEN o.bucket IS NOT NULL THEN EXISTS (
                    SELECT
                    FROM posts.favourite AS f
                    WHERE f.bucket = o.bucket AND f.post = n.post_id AND f.actor = \(viewer)
                      AND f.active
                ) END
            FROM newest AS n
            LEFT JOIN control.bucket_owner AS o
                ON o.bucket = ((n.post_id >> 6) & 1023)::smallint AND o.state IN ('own', 'fenced')
            """,
            on: viewer
        )
        return ViewerMarks(
            known: Dictionary(rows.map { ($0.post, $0.mark) }) { first, _ in first }
        )
    }

    /// Asks for what is not known yet: one statement to each shard, all at once.
    func complete(
        _ marks: ViewerMarks,
        on posts: [PostID],
        by viewer: UserID
    ) async throws -> ViewerMarks {
        let unliked = posts.filter { marks.known[$0]?.isLiked == nil }
        let unmarked = posts.filter { marks.known[$0] == nil }
        guard !unliked.isEmpty else { return marks }
        async let likes = favourites.liked(unliked, by: viewer)
        async let kept = bookmarks.bookmarked(unmarked, by: viewer)
        let (liked, bookmarked) = try await (likes, kept)
        var all = marks
        for post in unliked {
            let isBookmarked = all.known[post]?.isBookmarked ?? bookmarked.contains(post)
            all.known[post] = .init(isLiked: liked.contains(post), isBookmarked: isBookmarked)
        }
        return all
    }
}

private struct MarkRow: RowDecodable {
    let post: PostID
    let mark: ViewerMarks.Mark

    init(row: inout Row) throws(DatabaseError) {
        post = try row.next()
        let isBookmarked: Bool = try row.next()
        mark = ViewerMarks.Mark(isLiked: try row.next(Bool?.self), isBookmarked: isBookmarked)
    }
}
