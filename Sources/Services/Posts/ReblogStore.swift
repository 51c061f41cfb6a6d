import Contracts
import Counters
import Database
import Jobs
import Postgres
import Sharding

/// Reblogs: the truth is a post in the actor's bucket; beside the original lies a mirror.
struct ReblogStore: Sendable {
    let database: Database

    // MARK: The actor's bucket

    /// Publishes a reblog unless the actor passes that post on already; gives the one that stands.
    ///
    /// One statement: the row, the count of posts and the effects stand or fall together.
    func publish(_ post: Post, _ original: PostID, effects: [Effect]) async throws(DatabaseError)
        -> PostID?
    {
        var statement: SQL = """
            WITH made AS (
                \(fragment: PostStore.insert(post))
                ON CONFLICT (bucket, author, reblog_of)
                    WHERE deleted_at IS NULL AND reblog_of IS NOT NULL DO NOTHING
                RETURNING id
            ), listed AS (
                SELECT id FROM made WHERE \(post.isCounted)::boolean
            ), counted AS (
                \(fragment: Counters.append(
                    subject: post.author, kind: CounterKind.statuses, amount: 1, forEach: "listed"))
            )
            """
        for (index, effect) in effects.enumerated() {
            statement += """
                , effect\(unsafe: String(index)) AS (\(fragment: effect.enqueue(whenAny: "made")))
                """
        }
        let rows = try await database.write(
            on: post.author,
            [statement + " SELECT id FROM made", standing(original, by: post.author)]
        )
        return try rows[1].first()
    }

    /// The post by which the actor passes another one on.
    func reblog(of original: PostID, by actor: UserID) async throws(DatabaseError) -> PostID? {
        try await database.row(standing(original, by: actor), on: actor)
    }

    private func standing(_ original: PostID, by actor: UserID) -> SQL {
        """
        SELECT id
        FROM posts.post
        WHERE bucket = \(actor.bucket) AND author = \(actor) AND reblog_of = \(original)
          AND deleted_at IS NULL
        """
    }

    // MARK: Beside the original

    /// One page of those who pass a post on, by the ids of their reblogs.
    func rebloggers(
        of post: PostID,
        lower: Int64,
        upper: Int64,
        ascending: Bool,
        limit: Int
    ) async throws(DatabaseError) -> [ListEntry<UserID>] {
        try await database.rows(
            """
            SELECT reblog, actor
            FROM posts.reblog
            WHERE bucket = \(post.bucket) AND post = \(post) AND active AND counted
              AND reblog > \(lower) AND reblog < \(upper)
            ORDER BY reblog \(unsafe: ascending ? "ASC" : "DESC")
            LIMIT \(limit)
            """,
            on: post
        )
    }

    /// Some of the posts that still pass it on, as far as has been heard.
    func reblogs(of post: PostID, limit: Int) async throws(DatabaseError) -> [ListEntry<UserID>] {
        try await database.rows(
            """
            SELECT reblog, actor
            FROM posts.reblog
            WHERE bucket = \(post.bucket) AND post = \(post) AND active
            ORDER BY reblog DESC
            LIMIT \(limit)
            """,
            on: post
        )
    }

    /// Notes a reblog, or its end, counts it and tells the author; whatever has been noted under a newer version stays.
    func note(_ effect: ReblogEffect, trace: String?) async throws(DatabaseError) {
        let post = effect.original.id
        let version: Int16 = effect.active ? 1 : 2
        let told: SQL =
            effect.original.author == effect.reblog.author
            ? "" : ", told AS (\(fragment: Self.news(of: effect, trace).enqueue(whenAny: "noted")))"
        // An end that comes first leaves a tombstone and counts nothing: the begin will count nothing either.
        try await database.write(
            on: post,
            [
                """
                WITH noted AS (
                    INSERT INTO posts.reblog AS r
                        (bucket, post, reblog, actor, counted, version, active)
                    VALUES (
                        \(post.bucket), \(post), \(effect.reblog.id), \(effect.reblog.author),
                        \(effect.isCounted), \(version), \(effect.active)
                    )
                    ON CONFLICT (bucket, post, reblog) DO UPDATE
                    SET version = excluded.version, active = excluded.active
                    WHERE r.version < excluded.version
                    -- xmax is set where the row was there already, as the update sees it.
                    RETURNING r.counted, r.xmax <> 0 AS was_there
                ), changed AS (
                    SELECT 1 AS one
                    FROM noted
                    WHERE counted AND (\(effect.active)::boolean OR was_there)
                )\(fragment: told)
                \(fragment: Counters.append(
                    subject: post, kind: CounterKind.reblogs,
                    amount: effect.active ? 1 : -1, forEach: "changed"))
                """
            ]
        )
    }

    /// The author hears of it in their own bucket, which is the original's. A later reblog by the same actor has a
    /// higher id, and so is news after the end of an earlier one.
    private static func news(of effect: ReblogEffect, _ trace: String?) -> Effect {
        Effect(
            EffectKinds.notify,
            owner: effect.original.id,
            payload: NotificationEffect(
                recipient: effect.original.author,
                kind: .reblog,
                actor: effect.reblog.author,
                post: effect.original.id,
                version: 2 * effect.reblog.id.rawValue + (effect.active ? 0 : 1),
                active: effect.active
            ),
            traceparent: trace
        )
    }
}
