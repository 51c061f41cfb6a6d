import Contracts
import Database
import Postgres
import Sharding

/// Bookmarks, which only their owner knows of.
struct BookmarkStore: Sendable {
    let database: Database

    func add(_ post: PostID, by actor: UserID) async throws(DatabaseError) {
        try await database.write(
            on: actor,
            [
                """
                INSERT INTO posts.bookmark (bucket, actor, post, id)
                SELECT \(actor.bucket), \(actor), \(post), control.next_id(\(actor.bucket))
                WHERE NOT EXISTS (
                    SELECT FROM posts.bookmark
                    WHERE bucket = \(actor.bucket) AND actor = \(actor) AND post = \(post)
                )
                ON CONFLICT (bucket, actor, post) DO NOTHING
                """
            ]
        )
    }

    func remove(_ post: PostID, by actor: UserID) async throws(DatabaseError) {
        try await database.write(
            on: actor,
            [
                """
                DELETE FROM posts.bookmark
                WHERE bucket = \(actor.bucket) AND actor = \(actor) AND post = \(post)
                """,
                CollectionStore.removeEverywhere(post, of: actor),
            ]
        )
    }

    func bookmarks(
        of actor: UserID,
        lower: Int64,
        upper: Int64,
        ascending: Bool,
        limit: Int
    ) async throws(DatabaseError) -> [ListEntry<PostID>] {
        try await database.rows(
            """
            SELECT id, post
            FROM posts.bookmark
            WHERE bucket = \(actor.bucket) AND actor = \(actor)
              AND id > \(lower) AND id < \(upper)
            ORDER BY id \(unsafe: ascending ? "ASC" : "DESC")
            LIMIT \(limit)
            """,
            on: actor
        )
    }
}
