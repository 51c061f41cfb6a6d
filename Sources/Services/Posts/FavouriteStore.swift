import Contracts
import Counters
import Database
import Jobs
import Postgres
import Sharding

/// Likes: the truth beside the post, a mirror beside the actor.
struct FavouriteStore: Sendable {
    let database: Database

    /// Likes a post once; a repeat changes nothing. Answers whether it changed something.
    ///
    /// One statement: the row, the count and the effect for the mirror stand or fall together, and of two
    /// simultaneous likes of one actor the second finds the row of the first.
    func like(_ post: PostID, by actor: UserID, trace: String?) async throws(DatabaseError) -> Bool
    {
        try await write(
            """
            INSERT INTO posts.favourite AS f (bucket, post, actor, id)
            SELECT p.bucket, p.id, \(actor), control.next_id(p.bucket)
            FROM posts.post AS p
            WHERE p.bucket = \(post.bucket) AND p.id = \(post) AND p.deleted_at IS NULL
            ON CONFLICT (bucket, post, actor) DO UPDATE
            SET active = true, version = f.version + 1, id = excluded.id
            WHERE NOT f.active
            RETURNING f.version, f.active
            """,
            post,
            actor,
            amount: 1,
            trace
        )
    }

    func unlike(_ post: PostID, by actor: UserID, trace: String?) async throws(DatabaseError)
        -> Bool
    {
        try await write(
            """
            UPDATE posts.favourite
            SET active = false, version = version + 1
            WHERE bucket = \(post.bucket) AND post = \(post) AND actor = \(actor) AND active
            RETURNING version, active
            """,
            post,
            actor,
            amount: -1,
            trace
        )
    }

    private func write(
        _ change: SQL,
        _ post: PostID,
        _ actor: UserID,
        amount: Int,
        _ trace: String?
    ) async throws(DatabaseError) -> Bool {
        let effect = Effect(
            EffectKinds.postsFavourite,
            owner: post,
            payload: FavouriteEffect(actor: actor, post: post),
            traceparent: trace
        )
        let count = Counters.append(
            subject: post,
            kind: CounterKind.likes,
            amount: amount,
            forEach: "changed"
        )
        let rows = try await database.write(
            on: post,
            [
                """
                WITH changed AS (
                    \(fragment: change)
                ), counted AS (
                    \(fragment: count)
                ), mirrored AS (
                    \(fragment: effect.enqueue(whenAny: "changed"))
                ), notified AS (
                    \(fragment: notification(of: actor, post, trace))
                )
                SELECT version FROM changed
                """
            ]
        )
        return rows.first?.isEmpty == false
    }

    /// Tells the post's author, whose bucket is the post's, of the row of `changed`.
    private func notification(of actor: UserID, _ post: PostID, _ trace: String?) -> SQL {
        """
        INSERT INTO jobs.outbox (bucket, id, kind, payload, traceparent)
        SELECT p.bucket, control.next_id(p.bucket), \(EffectKinds.notify)::text,
            jsonb_build_object(
                'recipient', p.author::text,
                'kind', \(NotificationKind.favourite.rawValue)::text,
                'actor', \(actor.description)::text,
                'post', \(post.description)::text,
                'version', c.version,
                'active', c.active
            ),
            \(trace)::text
        FROM changed AS c
        JOIN posts.post AS p ON p.bucket = \(post.bucket) AND p.id = \(post)
        WHERE p.author <> \(actor)
        """
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

    // MARK: The mirror

    /// What the truth beside the post says about one actor.
    func truth(of actor: UserID, on post: PostID) async throws(DatabaseError) -> FavouriteRow? {
        try await database.row(
            """
            SELECT id, version, active
            FROM posts.favourite
            WHERE bucket = \(post.bucket) AND post = \(post) AND actor = \(actor)
            """,
            on: post
        )
    }

    /// Makes the actor's list say so, unless it knows a newer version.
    func mirror(
        _ row: FavouriteRow,
        of actor: UserID,
        on post: PostID
    ) async throws(DatabaseError) {
        try await database.write(
            on: actor,
            [
                """
                INSERT INTO posts.favourited AS f (bucket, actor, post, id, version, active)
                VALUES (
                    \(actor.bucket), \(actor), \(post), \(row.id), \(row.version), \(row.active)
                )
                ON CONFLICT (bucket, actor, post) DO UPDATE
                SET id = excluded.id, version = excluded.version, active = excluded.active
                WHERE f.version < excluded.version
                """
            ]
        )
    }
}

struct FavouriteRow: RowDecodable {
    let id: Int64
    let version: Int64
    let active: Bool

    init(row: inout Row) throws(DatabaseError) {
        id = try row.next()
        version = try row.next()
        active = try row.next()
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

/// Carries a like to the actor's own list.
///
/// The effect names the pair only: what the list must say is read from the truth when it runs, so that
/// effects may come late, twice and in any order.
struct MirrorFavourite: EffectHandler {
    let kind = EffectKinds.postsFavourite
    let favourites: FavouriteStore

    func target(of effect: ClaimedEffect) -> BucketID? {
        // What cannot be read has no target; `handle` buries it.
        (try? effect.decode(FavouriteEffect.init))?.actor.bucket
    }

    func handle(_ effect: ClaimedEffect) async throws {
        let pair = try effect.decode(FavouriteEffect.init)
        guard let truth = try await favourites.truth(of: pair.actor, on: pair.post) else { return }
        try await favourites.mirror(truth, of: pair.actor, on: pair.post)
    }
}
