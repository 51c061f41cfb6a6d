import Contracts
import Database
import Postgres
import Sharding

/// Likes: the truth beside the post, a mirror beside the actor.
struct FavouriteStore: Sendable {
    let database: Database
    private let changes: GroupedWrites<LikeChange, LikeChange.Pair, LikeOutcome>
    private let mirrors: GroupedWrites<MirroredLike, MirroredLike.Pair, Void>

    init(database: Database) {
        self.database = database
        changes = GroupedWrites(
            database: database,
            key: { $0.pair },
            statements: { LikeChange.statements($0) { database.shard(of: $0.bucket) } },
            answers: LikeChange.outcomes
        )
        mirrors = GroupedWrites(
            database: database,
            key: { $0.pair },
            statements: { [MirroredLike.statement($0)] },
            answers: { items, _ in items.map { _ in () } }
        )
    }

    /// Likes a post once, or takes the like back, also of a post that is deleted; a repeat changes nothing.
    func set(
        liked: Bool,
        _ post: PostID,
        by actor: UserID,
        trace: String?
    ) async throws(DatabaseError) -> LikeOutcome {
        try await changes.write(LikeChange(post: post, actor: actor, likes: liked, trace: trace))
    }

    /// Makes the actors' lists say so, unless they know newer versions.
    func mirror(_ likes: [MirroredLike]) async throws(DatabaseError) {
        _ = try await mirrors.write(likes)
    }

    /// What the truth beside a post says about one actor, for the actor's list.
    func truth(of actor: UserID, on post: PostID) async throws(DatabaseError) -> MirroredLike? {
        try await database.row(
            """
            SELECT actor, post, id, version, active
            FROM posts.favourite
            WHERE bucket = \(post.bucket) AND post = \(post) AND actor = \(actor)
            """,
            on: post
        )
    }

    /// Which of the posts the actor likes, from the truth beside each post.
    func liked(_ posts: [PostID], by actor: UserID) async throws(DatabaseError) -> Set<PostID> {
        guard !posts.isEmpty else { return [] }
        let liked: [Int64] = try await database.gather(posts) { posts in
            """
            SELECT f.post
            FROM unnest(\(posts.map(\.bucket))::smallint[], \(posts)::bigint[])
                AS wanted (bucket, id)
            JOIN posts.favourite AS f
                ON f.bucket = wanted.bucket AND f.post = wanted.id AND f.actor = \(actor)
            WHERE f.active
            """
        }
        return Set(liked.map { PostID(rawValue: $0) })
    }

    /// One page of a list that is ordered by the ids of likes.
    func likers(
        of post: PostID,
        lower: Int64,
        upper: Int64,
        ascending: Bool,
        limit: Int
    ) async throws(DatabaseError) -> [ListEntry<UserID>] {
        try await database.rows(
            """
            SELECT id, actor
            FROM posts.favourite
            WHERE bucket = \(post.bucket) AND post = \(post) AND active
              AND id > \(lower) AND id < \(upper)
            ORDER BY id \(unsafe: ascending ? "ASC" : "DESC")
            LIMIT \(limit)
            """,
            on: post
        )
    }

    /// The actor's own list, which may lag behind by an effect.
    func favourites(
        of actor: UserID,
        lower: Int64,
        upper: Int64,
        ascending: Bool,
        limit: Int
    ) async throws(DatabaseError) -> [ListEntry<PostID>] {
        try await database.rows(
            """
            SELECT id, post
            FROM posts.favourited
            WHERE bucket = \(actor.bucket) AND actor = \(actor) AND active
              AND id > \(lower) AND id < \(upper)
            ORDER BY id \(unsafe: ascending ? "ASC" : "DESC")
            LIMIT \(limit)
            """,
            on: actor
        )
    }
}

/// An entry of a list that has cursors of its own.
struct ListEntry<Value: RoutedID>: RowDecodable {
    let cursor: Int64
    let value: Value

    init(row: inout Row) throws(DatabaseError) {
        cursor = try row.next()
        value = try row.next()
    }
}
