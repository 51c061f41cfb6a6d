import Contracts
import Database
import JSON
import Jobs
import Postgres
import Sharding

/// Posts that wait for their time.
struct ScheduledStore: Sendable {
    let database: Database

    struct Waiting: Sendable, RowDecodable {
        let id: PostID
        let scheduledAt: Timestamp
        let isOpen: Bool
        let fragment: PostFragment

        init(row: inout Row) throws(DatabaseError) {
            id = try row.next()
            scheduledAt = try row.next()
            isOpen = try row.next()
            fragment = try ScheduledStore.fragment(row.next())
        }
    }

    private static func fragment(_ text: JSONText) throws(DatabaseError) -> PostFragment {
        // What is wrong with the text says no more than that it cannot be read.
        guard let json = try? JSONReader.parse(text.bytes), let fragment = PostFragment(json) else {
            throw .decoding("a scheduled post cannot be read")
        }
        return fragment
    }

    /// The statements that keep a post until its time: its photos are taken at once, so that they stay.
    ///
    /// `isOpen` says that the author's open posts are for everybody.
    static func insert(
        _ fragment: PostFragment,
        at time: Timestamp,
        isOpen: Bool,
        trace: String?
    ) -> [SQL] {
        let post = fragment.post
        var statements: [SQL] = [
            """
            INSERT INTO posts.scheduled (bucket, id, author, scheduled_at, is_open, post)
            VALUES (
                \(post.id.bucket), \(post.id), \(post.author), \(time), \(isOpen),
                \(JSONText(fragment.jsonBytes))
            )
            """,
            due(post, at: time, trace: trace).enqueue,
        ]
        if !post.media.isEmpty {
            statements.append(PostStore.attach(post.media, to: post.id))
            statements.append(media(EffectKinds.mediaAttached, of: post, trace: trace).enqueue)
        }
        return statements
    }

    private static func due(_ post: Post, at time: Timestamp, trace: String?) -> Effect {
        Effect(
            EffectKinds.postsScheduled,
            owner: post.id,
            payload: PostEffect(post: post.id, author: post.author),
            traceparent: trace,
            delay: max(.zero, time - .now)
        )
    }

    private static func media(_ kind: String, of post: Post, trace: String?) -> Effect {
        Effect(
            kind,
            owner: post.id,
            payload: MediaAttachedEffect(post: post.id, media: post.media),
            traceparent: trace
        )
    }

    // MARK: For its author

    func count(of author: UserID) async throws(DatabaseError) -> Int {
        try await database.row(
            """
            SELECT count(*)
            FROM posts.scheduled
            WHERE bucket = \(author.bucket) AND author = \(author)
            """,
            on: author
        ) ?? 0
    }

    func waiting(
        of author: UserID,
        lower: Int64,
        upper: Int64,
        ascending: Bool,
        limit: Int
    ) async throws(DatabaseError) -> [Waiting] {
        try await database.rows(
            """
            SELECT id, scheduled_at, is_open, post
            FROM posts.scheduled
            WHERE bucket = \(author.bucket) AND author = \(author)
              AND id > \(lower) AND id < \(upper)
            ORDER BY id \(unsafe: ascending ? "ASC" : "DESC")
            LIMIT \(limit)
            """,
            on: author
        )
    }

    func waiting(_ id: PostID, of author: UserID) async throws(DatabaseError) -> Waiting? {
        try await database.row(
            """
            SELECT id, scheduled_at, is_open, post
            FROM posts.scheduled
            WHERE bucket = \(author.bucket) AND id = \(id) AND author = \(author)
            """,
            on: author
        )
    }

    /// Gives it another time; false where it is gone, or published.
    func move(
        _ waiting: Waiting,
        to time: Timestamp,
        trace: String?
    ) async throws(DatabaseError) -> Bool {
        let due = Self.due(waiting.fragment.post, at: time, trace: trace)
        let rows = try await database.write(
            on: waiting.id,
            [
                """
                WITH moved AS (
                    UPDATE posts.scheduled
                    SET scheduled_at = \(time)
                    WHERE bucket = \(waiting.id.bucket) AND id = \(waiting.id)
                    RETURNING id
                ), due AS (\(fragment: due.enqueue(whenAny: "moved")))
                SELECT id FROM moved
                """
            ]
        )
        return !rows[0].isEmpty
    }

    /// Takes it back; false where it is gone, or published.
    func delete(_ waiting: Waiting, trace: String?) async throws(DatabaseError) -> Bool {
        let id = waiting.id
        let media = Self.media(EffectKinds.mediaDetached, of: waiting.fragment.post, trace: trace)
        let rows = try await database.write(
            on: id,
            [
                """
                WITH gone AS (
                    DELETE FROM posts.scheduled
                    WHERE bucket = \(id.bucket) AND id = \(id)
                    RETURNING id
                ), detached AS (
                    DELETE FROM posts.attachment
                    WHERE bucket = \(id.bucket) AND post IN (SELECT id FROM gone)
                ), media AS (\(fragment: media.enqueue(whenAny: "gone")))
                SELECT id FROM gone
                """
            ]
        )
        return !rows[0].isEmpty
    }

    // MARK: Its time

    /// Publishes what is due, in one transaction with its end here; gives when to come again where it is not due.
    func publish(_ id: PostID, trace: String?) async throws -> Duration? {
        try await database.transaction(on: id) { transaction in
            let found: Waiting? = try await transaction.row(
                """
                SELECT id, scheduled_at, is_open, post
                FROM posts.scheduled
                WHERE bucket = \(id.bucket) AND id = \(id)
                FOR UPDATE
                """
            )
            guard let found else { return nil }
            let wait = found.scheduledAt - Timestamp.now
            if wait > .zero { return wait }
            let made: PostID? = try await transaction.row(
                "SELECT control.next_id(\(id.bucket)::smallint)"
            )
            guard let made else { throw DatabaseError.decoding("control.next_id gave no row") }
            var post = found.fragment.post
            post.id = made
            post.createdAt = made.createdAt
            // A poll runs from when it is seen.
            if let poll = post.details.poll {
                post.details.poll?.expiresAt =
                    poll.expiresAt + (made.createdAt - id.createdAt)
            }
            post.details.scheduledAs = post.media.isEmpty ? nil : id
            let ends: [SQL] = [
                "DELETE FROM posts.scheduled WHERE bucket = \(id.bucket) AND id = \(id)",
                "DELETE FROM posts.attachment WHERE bucket = \(id.bucket) AND post = \(id)",
            ]
            try await transaction.query(
                ends + PublishPost.statements(for: post, isOpen: found.isOpen, trace: trace)
            )
            return nil
        }
    }
}

/// The time of a scheduled post has come.
///
/// An effect that comes too early, since its author gave the post another time, waits; one that comes twice, or after
/// the post was taken back, finds nothing.
struct PublishScheduled: EffectHandler {
    let kind = EffectKinds.postsScheduled
    let scheduled: ScheduledStore

    func handle(_ effect: ClaimedEffect) async throws {
        let due = try effect.decode(PostEffect.init)
        if let wait = try await scheduled.publish(due.post, trace: effect.traceparent) {
            throw EffectError.later(after: wait)
        }
    }
}
