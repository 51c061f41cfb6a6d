import Contracts
import Counters
import Database
import HTTP
import JSON
import Jobs
import Postgres
import ServiceKit
import Sharding

/// Comments of people whom the owner of a post restricts: the two see them, and the owner may let them through.
///
/// Whether a comment waits stands in its own row from the beginning, so that no way to it can forget it. The owner's
/// list is a mirror. Nothing else hears of the comment before it is let through, which happens once and for good.
struct HeldComments: Sendable {
    let directory: PostDirectory

    var endpoints: [Endpoint] {
        [
            Endpoint(
                .get,
                "/api/tessera/v1/held_comments",
                operationID: "listHeldComments",
                summary: "Comments on one's own posts that wait for approval, newest first.",
                tag: "statuses",
                access: .user(["read:statuses"]),
                inputs: Parameter.paging,
                output: .list("Status"),
                handler: list
            ),
            Endpoint(
                .post,
                "/api/tessera/v1/held_comments/:id/approve",
                operationID: "approveHeldComment",
                summary: "Lets a comment through: others see it from now on.",
                tag: "statuses",
                access: .user(["write:statuses"]),
                output: .emptyObject,
                handler: approve
            ),
        ]
    }

    private func list(_ call: Call) async throws -> Response {
        let host = try call.user()
        let page = try await FilledPage<StatusEntity>(
            try PageRequest(call.input),
            cursor: { (comment: PostID) in comment.rawValue },
            read: { try await waiting(for: host, $0) },
            show: { comments in
                let found = try await directory.statuses(comments, viewer: host)
                return comments.compactMap { id in found[id].map { (id, $0) } }
            }
        )
        var response = Response.json(page.shown)
        response.link(call, first: page.first, last: page.last, isFull: page.isFull)
        return response
    }

    private func waiting(
        for host: UserID,
        _ page: PageRequest
    ) async throws(DatabaseError) -> [PostID] {
        let found: [PostID] = try await directory.store.database.rows(
            """
            SELECT comment
            FROM posts.held_comment
            WHERE bucket = \(host.bucket) AND host = \(host) AND state = 1
              AND comment > \(page.lower) AND comment < \(page.upper)
            ORDER BY comment \(unsafe: page.isAscending ? "ASC" : "DESC")
            LIMIT \(page.limit)
            """,
            on: host
        )
        return found.sorted(by: >)
    }

    private func approve(_ call: Call) async throws -> Response {
        let host = try call.user()
        let comment: PostID = try call.id()
        let release = Effect(
            EffectKinds.postsRelease,
            owner: host,
            payload: HeldEffect(host: host, comment: comment, parent: comment, waits: false),
            traceparent: call.request.traceparent
        )
        let rows = try await directory.store.database.write(
            on: host,
            [
                """
                WITH approved AS (
                    UPDATE posts.held_comment
                    SET state = 2
                    WHERE bucket = \(host.bucket) AND host = \(host) AND comment = \(comment)
                      AND state = 1
                    RETURNING comment
                ), released AS (\(fragment: release.enqueue(whenAny: "approved")))
                SELECT comment FROM approved
                """
            ]
        )
        guard rows.first?.isEmpty == false else { throw ServiceError.notFound }
        return .emptyObject
    }
}

/// Payload of `posts.held` and `posts.release`.
struct HeldEffect: Sendable, Equatable, JSONEncodable {
    var host: UserID
    var comment: PostID
    var parent: PostID
    var waits: Bool

    init(host: UserID, comment: PostID, parent: PostID, waits: Bool) {
        self.host = host
        self.comment = comment
        self.parent = parent
        self.waits = waits
    }

    /// Nil for what is no comment.
    init?(_ post: Post, waits: Bool) {
        guard let host = post.host, let parent = post.inReplyTo else { return nil }
        self.init(host: host, comment: post.id, parent: parent, waits: waits)
    }

    init?(_ json: JSONValue) {
        guard let host = json["host"]?.string.flatMap({ UserID($0) }),
            let comment = json["comment"]?.string.flatMap({ PostID($0) }),
            let parent = json["parent"]?.string.flatMap({ PostID($0) }),
            let waits = json["waits"]?.bool
        else { return nil }
        self.init(host: host, comment: comment, parent: parent, waits: waits)
    }

    func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("host", host.description)
            json.field("comment", comment.description)
            json.field("parent", parent.description)
            json.field("waits", waits)
        }
    }
}

/// Carries a comment that waits, or its end, to the list of the post's owner.
struct NoteHeldComment: EffectHandler {
    let kind = EffectKinds.postsHeld
    let database: Database

    func target(of effect: ClaimedEffect) -> BucketID? {
        // What cannot be read has no target; `handle` buries it.
        (try? effect.decode(HeldEffect.init))?.host.bucket
    }

    func handle(_ effect: ClaimedEffect) async throws {
        let held = try effect.decode(HeldEffect.init)
        let state: Int16 = held.waits ? 1 : 2
        // The end may be heard of first, and is kept.
        try await database.write(
            on: held.host,
            [
                """
                INSERT INTO posts.held_comment AS h (bucket, host, comment, parent, state)
                VALUES (
                    \(held.host.bucket), \(held.host), \(held.comment), \(held.parent), \(state)
                )
                ON CONFLICT (bucket, host, comment) DO UPDATE
                SET state = greatest(h.state, excluded.state)
                """
            ]
        )
    }
}

/// Lets a comment through beside its author; the list of answers and the counts follow from there.
struct ReleaseComment: EffectHandler {
    let kind = EffectKinds.postsRelease
    let directory: PostDirectory

    func target(of effect: ClaimedEffect) -> BucketID? {
        // As above.
        (try? effect.decode(HeldEffect.init))?.comment.bucket
    }

    func handle(_ effect: ClaimedEffect) async throws {
        let id = try effect.decode(HeldEffect.init).comment
        guard var post = try await directory.store.post(id)?.post, post.isHeld else { return }
        post.isHeld = false
        guard let reply = PublishPost.reply(post, active: true) else { return }
        let answer = Effect(
            EffectKinds.postsReply,
            owner: id,
            payload: reply,
            traceparent: effect.traceparent
        )
        try await directory.store.database.write(
            on: id,
            [
                """
                WITH released AS (
                    UPDATE posts.post
                    SET held = false
                    WHERE bucket = \(id.bucket) AND id = \(id) AND held AND deleted_at IS NULL
                    RETURNING id, visibility < 2 AS is_counted
                ), listed AS (
                    SELECT id FROM released WHERE is_counted
                ), counted AS (
                    \(fragment: Counters.append(
                        subject: post.author, kind: CounterKind.statuses, amount: 1,
                        forEach: "listed"))
                )
                \(fragment: answer.enqueue(whenAny: "released"))
                """
            ]
        )
        await directory.cache.forget([id])
    }
}
