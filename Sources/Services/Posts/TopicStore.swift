import Contracts
import Database
import Jobs
import Postgres
import Sharding

/// Posts by topic, and the hashtags that users follow.
struct TopicStore: Sendable {
    let database: Database

    // MARK: Posts by topic

    /// The posts about any of the topics, one statement a shard; in no order and perhaps twice, at most `limit` of each.
    func posts(
        about topics: [Topic],
        lower: Int64,
        upper: Int64,
        ascending: Bool,
        withReplies: Bool = true,
        limit: Int
    ) async throws(DatabaseError) -> [PostReference] {
        let rows: [ReferenceRow] = try await database.gather(topics) { topics in
            """
            SELECT t.post, t.author
            FROM unnest(
                \(topics.map(\.bucket))::smallint[], \(topics.map(\.kind.rawValue))::smallint[],
                \(topics.map(\.name))::text[]
            ) AS asked (bucket, kind, name)
            CROSS JOIN LATERAL (
                SELECT t.post, t.author
                FROM posts.topic AS t
                WHERE t.bucket = asked.bucket AND t.kind = asked.kind AND t.name = asked.name
                  AND t.active AND t.post > \(lower) AND t.post < \(upper)
                  AND (\(withReplies)::boolean OR NOT t.is_reply)
                ORDER BY t.post \(unsafe: ascending ? "ASC" : "DESC")
                LIMIT \(limit)
            ) AS t
            """
        }
        return rows.map(\.reference)
    }

    /// Makes the index say what the post says, unless it knows a newer version.
    func note(_ topic: Topic, _ truth: TopicTruth) async throws(DatabaseError) {
        try await database.write(
            on: topic,
            [
                """
                INSERT INTO posts.topic AS t
                    (bucket, kind, name, post, author, is_reply, version, active)
                VALUES (
                    \(topic.bucket), \(topic.kind.rawValue), \(topic.name), \(truth.post.id),
                    \(truth.post.author), \(truth.post.inReplyTo != nil), \(truth.version),
                    \(truth.isAbout(topic))
                )
                ON CONFLICT (bucket, kind, name, post) DO UPDATE
                SET version = excluded.version, active = excluded.active
                WHERE t.version < excluded.version
                """
            ]
        )
    }

    /// Takes a person off a post for good, and tells what is kept of it elsewhere.
    func untag(_ user: UserID, from post: Post, trace: String?) async throws(DatabaseError) {
        let gathered = Effect(
            EffectKinds.postsTopic,
            owner: post.id,
            payload: TopicEffect(topic: Topic(person: user), post: post.id),
            traceparent: trace
        )
        let told = Effect(
            EffectKinds.postsTell,
            owner: post.id,
            payload: NotificationEffect(
                recipient: user,
                kind: .tag,
                actor: post.author,
                post: post.id,
                version: 2,
                active: false
            ),
            traceparent: trace
        )
        try await database.write(
            on: post.id,
            [
                """
                WITH changed AS (
                    UPDATE posts.post
                    SET untagged = untagged || \(user)::bigint, version = version + 1
                    WHERE bucket = \(post.id.bucket) AND id = \(post.id) AND deleted_at IS NULL
                      AND NOT (\(user)::bigint = ANY (untagged))
                    RETURNING id
                ), gathered AS (
                    \(fragment: gathered.enqueue(whenAny: "changed"))
                ), told AS (
                    \(fragment: told.enqueue(whenAny: "changed"))
                )
                SELECT id FROM changed
                """
            ]
        )
    }

    /// The post as its row says, deleted or not.
    func truth(of post: PostID) async throws(DatabaseError) -> TopicTruth? {
        try await database.row(
            """
            SELECT p.version, p.deleted_at IS NOT NULL, \(fragment: PostStore.columns)
            FROM posts.post AS p
            CROSS JOIN LATERAL \(fragment: PostStore.counts)
            WHERE p.bucket = \(post.bucket) AND p.id = \(post)
            """,
            on: post
        )
    }

    // MARK: Followed hashtags

    /// Follows a hashtag, unless there are too many; answers whether it is followed now.
    func follow(
        _ tag: Topic,
        by user: UserID,
        atMost limit: Int
    ) async throws(DatabaseError) -> Bool {
        let rows = try await database.write(
            on: user,
            [
                """
                INSERT INTO posts.followed_tag (bucket, user_id, name, id)
                SELECT \(user.bucket), \(user), \(tag.name), control.next_id(\(user.bucket))
                WHERE (
                    SELECT count(*)
                    FROM posts.followed_tag
                    WHERE bucket = \(user.bucket) AND user_id = \(user)
                ) < \(limit)
                ON CONFLICT (bucket, user_id, name) DO NOTHING
                """,
                isFollowed(tag, by: user),
            ]
        )
        return try rows[1].first() ?? false
    }

    func unfollow(_ tag: Topic, by user: UserID) async throws(DatabaseError) {
        try await database.write(
            on: user,
            [
                """
                DELETE FROM posts.followed_tag
                WHERE bucket = \(user.bucket) AND user_id = \(user) AND name = \(tag.name)
                """
            ]
        )
    }

    func isFollowing(_ tag: Topic, _ user: UserID) async throws(DatabaseError) -> Bool {
        try await database.row(isFollowed(tag, by: user), on: user) ?? false
    }

    private func isFollowed(_ tag: Topic, by user: UserID) -> SQL {
        """
        SELECT EXISTS (
            SELECT
            FROM posts.followed_tag
            WHERE bucket = \(user.bucket) AND user_id = \(user) AND name = \(tag.name)
        )
        """
    }

    /// One page of what a user follows, by the ids of those follows.
    func followed(
        by user: UserID,
        lower: Int64 = 0,
        upper: Int64 = .max,
        ascending: Bool = false,
        limit: Int
    ) async throws(DatabaseError) -> [FollowedTag] {
        try await database.rows(
            """
            SELECT id, name
            FROM posts.followed_tag
            WHERE bucket = \(user.bucket) AND user_id = \(user)
              AND id > \(lower) AND id < \(upper)
            ORDER BY id \(unsafe: ascending ? "ASC" : "DESC")
            LIMIT \(limit)
            """,
            on: user
        )
    }
}

/// A post as it is about to be gathered.
struct TopicTruth: RowDecodable {
    let version: Int64
    let isDeleted: Bool
    let post: Post

    init(row: inout Row) throws(DatabaseError) {
        version = try row.next()
        isDeleted = try row.next()
        post = try CountedPost(row: &row).post
    }

    func isAbout(_ topic: Topic) -> Bool { !isDeleted && Topic.all(of: post).contains(topic) }
}

struct FollowedTag: RowDecodable {
    let cursor: Int64
    let name: String

    init(row: inout Row) throws(DatabaseError) {
        cursor = try row.next()
        name = try row.next()
    }
}

/// Carries a post to where its topic is gathered.
///
/// The effect names the two only; whether the post is about it is read from the post when it runs, so that
/// effects may come late, twice and in any order.
struct NoteTopic: EffectHandler {
    let kind = EffectKinds.postsTopic
    let topics: TopicStore

    func target(of effect: ClaimedEffect) -> BucketID? {
        // What cannot be read has no target; `handle` buries it.
        (try? effect.decode(TopicEffect.init))?.topic.bucket
    }

    func handle(_ effect: ClaimedEffect) async throws {
        let pair = try effect.decode(TopicEffect.init)
        guard let truth = try await topics.truth(of: pair.post) else { return }
        try await topics.note(pair.topic, truth)
    }
}
