import Contracts
import Counters
import Database
import Jobs
import Postgres
import Sharding

/// Which posts answer which, beside the post that is answered.
struct ReplyStore: Sendable {
    let database: Database

    /// The answers to each of the posts, one query a shard; at most `limit` for each of them, oldest first.
    func replies(to parents: [PostID], limit: Int) async throws(DatabaseError) -> [ReplyRow] {
        guard !parents.isEmpty else { return [] }
        return try await database.gather(parents) { parents in
            """
            SELECT r.parent, r.reply
            FROM unnest(\(parents.map(\.bucket))::smallint[], \(parents)::bigint[])
                AS wanted (bucket, id)
            CROSS JOIN LATERAL (
                SELECT r.parent, r.reply
                FROM posts.reply AS r
                WHERE r.bucket = wanted.bucket AND r.parent = wanted.id AND r.active
                ORDER BY r.reply
                LIMIT \(limit)
            ) AS r
            """
        }
    }

    /// The author's own answers, from the author's shard, which knows them first.
    func ownReplies(
        of author: UserID,
        to parents: [PostID],
        limit: Int
    ) async throws(DatabaseError) -> [ReplyRow] {
        guard !parents.isEmpty else { return [] }
        return try await database.rows(
            """
            SELECT in_reply_to, id
            FROM posts.post
            WHERE bucket = \(author.bucket) AND author = \(author) AND deleted_at IS NULL
              AND in_reply_to = ANY (\(parents)::bigint[])
            ORDER BY id
            LIMIT \(limit)
            """,
            on: author
        )
    }

    /// Answers that wait for the host's approval, from the host's shard.
    func heldReplies(
        of host: UserID,
        to parents: [PostID],
        limit: Int
    ) async throws(DatabaseError) -> [ReplyRow] {
        guard !parents.isEmpty else { return [] }
        return try await database.rows(
            """
            SELECT parent, comment
            FROM posts.held_comment
            WHERE bucket = \(host.bucket) AND host = \(host) AND state = 1
              AND parent = ANY (\(parents)::bigint[])
            ORDER BY comment
            LIMIT \(limit)
            """,
            on: host
        )
    }

    /// Notes an answer, or its end, and counts it; whatever has been noted under a newer version stays.
    func note(_ reply: ReplyEffect) async throws(DatabaseError) {
        let version: Int16 = reply.active ? 1 : 2
        let amount = reply.active ? 1 : -1
        // An end that comes first leaves a tombstone and counts nothing: the begin will count nothing either.
        try await database.write(
            on: reply.parent,
            [
                """
                WITH noted AS (
                    INSERT INTO posts.reply AS r
                        (bucket, parent, reply, author, counted, version, active)
                    VALUES (
                        \(reply.parent.bucket), \(reply.parent), \(reply.reply), \(reply.author),
                        \(reply.isCounted), \(version), \(reply.active)
                    )
                    ON CONFLICT (bucket, parent, reply) DO UPDATE
                    SET version = excluded.version, active = excluded.active
                    WHERE r.version < excluded.version
                    -- xmax is set where the row was there already, as the update sees it.
                    RETURNING r.counted, r.xmax <> 0 AS was_there
                ), changed AS (
                    SELECT 1 AS one
                    FROM noted
                    WHERE counted AND (\(reply.active)::boolean OR was_there)
                )
                \(fragment: Counters.append(
                    subject: reply.parent, kind: CounterKind.replies, amount: amount,
                    forEach: "changed"))
                """
            ]
        )
    }
}

struct ReplyRow: RowDecodable {
    let parent: PostID
    let reply: PostID

    init(row: inout Row) throws(DatabaseError) {
        parent = try row.next()
        reply = try row.next()
    }
}

/// Carries an answer to the shard of the post that it answers.
struct NoteReply: EffectHandler {
    let kind = EffectKinds.postsReply
    let replies: ReplyStore
    let cache: PostCache

    func target(of effect: ClaimedEffect) -> BucketID? {
        // What cannot be read has no target; `handle` buries it.
        (try? effect.decode(ReplyEffect.init))?.parent.bucket
    }

    func handle(_ effect: ClaimedEffect) async throws {
        let reply = try effect.decode(ReplyEffect.init)
        try await replies.note(reply)
        await cache.forget([reply.parent])
    }
}
