import Contracts
import Database
import Postgres
import Sharding

/// A viewer's marks on posts: likes lie beside each post, bookmarks and reblogs beside the viewer.
struct MarkStore: Sendable {
    let database: Database
    let favourites: FavouriteStore

    /// Marks on some posts of the viewer's home timeline, as far as the viewer's own shard knows them.
    ///
    /// One statement that can travel beside the one which reads the timeline. Likes of posts whose bucket lies on
    /// the same shard come with it, read in one snapshot with the row that says that it does.
    func home(
        of viewer: UserID,
        in window: FeedWindow
    ) async throws(DatabaseError) -> ViewerMarks {
        let order = window.isAscending ? "ASC" : "DESC"
        let rows: [MarkRow] = try await database.rows(
            """
            WITH shown AS MATERIALIZED (
                (
                    SELECT post_id
                    FROM feed.delivered
                    WHERE bucket = \(viewer.bucket) AND reader = \(viewer)
                      AND post_id > \(window.above) AND post_id < \(window.below)
                    ORDER BY post_id \(unsafe: order)
                    LIMIT \(window.limit)
                )
                UNION ALL
                (
                    SELECT id
                    FROM posts.post
                    WHERE bucket = \(viewer.bucket) AND author = \(viewer)
                      AND deleted_at IS NULL AND in_reply_to IS NULL
                      AND (visibility < 3 OR close_friends)
                      AND id > \(window.above) AND id < \(window.below)
                    ORDER BY id \(unsafe: order)
                    LIMIT \(window.limit)
                )
            )
            SELECT n.post_id, \(fragment: own(of: viewer)),
                CASE WHEN o.bucket IS NOT NULL THEN EXISTS (
                    SELECT
                    FROM posts.favourite AS f
                    WHERE f.bucket = o.bucket AND f.post = n.post_id AND f.actor = \(viewer)
                      AND f.active
                ) END
            FROM shown AS n
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
        async let own = own(on: unmarked, by: viewer)
        let (liked, marked) = try await (likes, own)
        var all = marks
        for row in marked { all.known[row.post] = row.mark }
        for post in unliked { all.known[post]?.isLiked = liked.contains(post) }
        return all
    }

    /// The viewer's marks on one post after a change, which may be under way: what it sets is not read.
    func mark(
        of viewer: UserID,
        on post: PostID,
        after change: MarkChange
    ) async throws -> ViewerMarks.Mark {
        var mark = ViewerMarks.Mark(isLiked: nil, isBookmarked: false, isReblogged: false)
        if change.isLiked == nil {
            mark = try await complete(ViewerMarks(), on: [post], by: viewer).known[post] ?? mark
        } else {
            mark = try await own(on: [post], by: viewer).first?.mark ?? mark
            mark.isLiked = change.isLiked
        }
        mark.isBookmarked = change.isBookmarked ?? mark.isBookmarked
        return mark
    }

    private func own(on posts: [PostID], by viewer: UserID) async throws(DatabaseError) -> [MarkRow]
    {
        guard !posts.isEmpty else { return [] }
        return try await database.rows(
            """
            SELECT n.post_id, \(fragment: own(of: viewer)), NULL::boolean
            FROM unnest(\(posts)::bigint[]) AS n (post_id)
            """,
            on: viewer
        )
    }

    /// What lies beside the viewer, of posts named `n.post_id`: bookmarked, passed on.
    private func own(of viewer: UserID) -> SQL {
        """
        EXISTS (
            SELECT
            FROM posts.bookmark AS b
            WHERE b.bucket = \(viewer.bucket) AND b.actor = \(viewer) AND b.post = n.post_id
        ), EXISTS (
            SELECT
            FROM posts.post AS r
            WHERE r.bucket = \(viewer.bucket) AND r.author = \(viewer)
              AND r.reblog_of = n.post_id AND r.deleted_at IS NULL
        )
        """
    }
}

/// What an action sets; nil for what it leaves as it is.
struct MarkChange: Sendable {
    var isLiked: Bool?
    var isBookmarked: Bool?
}

private struct MarkRow: RowDecodable {
    let post: PostID
    let mark: ViewerMarks.Mark

    init(row: inout Row) throws(DatabaseError) {
        post = try row.next()
        let isBookmarked: Bool = try row.next()
        let isReblogged: Bool = try row.next()
        mark = ViewerMarks.Mark(
            isLiked: try row.next(Bool?.self),
            isBookmarked: isBookmarked,
            isReblogged: isReblogged
        )
    }
}
