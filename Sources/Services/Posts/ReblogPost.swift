import Contracts
import Database
import HTTP
import Jobs
import Postgres
import ServiceKit
import Sharding

/// Passes a post on, or takes that back. Either is the same when it is repeated.
///
/// A reblog is a post of the actor's own that points at the original: it is fanned out, listed and deleted as
/// any other. What the original's shard knows of it follows by an effect.
struct ReblogPost: Sendable {
    let directory: PostDirectory
    let reblogs: ReblogStore

    /// Gives the reblog that stands afterwards.
    func callAsFunction(_ call: Call, _ original: Post, by actor: UserID) async throws -> PostID {
        let audience = try await audience(call.input, of: original, actor)
        if let standing = try await reblogs.reblog(of: original.id, by: actor) { return standing }
        let id = try await directory.store.nextID(for: actor)
        let post = Post(
            id: id,
            author: actor,
            text: "",
            visibility: audience.visibility,
            reblogOf: PostReference(id: original.id, author: original.author),
            application: call.authentication?.application,
            createdAt: id.createdAt
        )
        let trace = call.request.traceparent
        let effects = [
            Effect(
                EffectKinds.feedFanOut,
                owner: id,
                payload: PostEffect(post: id, author: actor),
                traceparent: trace
            ),
            Self.effect(of: post, isCounted: audience.isCounted, active: true, trace: trace),
        ].compactMap(\.self)
        guard let made = try await reblogs.publish(post, original.id, effects: effects) else {
            // Taken back by another request in the same moment.
            throw ServiceError.notFound
        }
        return made
    }

    /// Whom the reblog is for, and whether it counts for all who see the original.
    ///
    /// What not everybody may see is passed on by its author alone, to the same people.
    private func audience(
        _ input: Input,
        of original: Post,
        _ actor: UserID
    ) async throws -> (visibility: Visibility, isCounted: Bool) {
        guard original.visibility != .direct, original.visibility != .closeFriends,
            let account = try await directory.accounts.account(original.author)
        else { throw ServiceError.notFound }
        let stranger = PostRules(rules: VisibilityRules(viewer: nil, recent: directory.recent))
        guard stranger.allow(original, of: account.state, by: .address) else {
            guard original.author == actor else { throw ServiceError.notFound }
            return (.private, true)
        }
        guard let text = input.string("visibility"), !text.isEmpty else { return (.public, true) }
        guard let visibility = Visibility(rawValue: text), visibility != .direct,
            visibility != .closeFriends
        else {
            throw ServiceError.invalid("Visibility is not included in the list")
        }
        return (visibility, visibility.isOpen)
    }

    func undo(_ call: Call, _ original: PostID, by actor: UserID) async throws {
        guard let id = try await reblogs.reblog(of: original, by: actor),
            let post = try await directory.store.post(id)?.post
        else { return }
        try await delete([post], trace: call.request.traceparent)
    }

    /// Deletes reblogs of one author as any post is deleted.
    func delete(_ posts: [Post], trace: String?) async throws {
        for post in posts {
            let effects = DeletePost.effects(of: post, trace: trace)
            let statement = PostStore.delete(post, effects: effects)
            _ = try await directory.store.database.write(on: post.id, [statement])
        }
        await directory.cache.forget(posts.map(\.id))
    }

    /// What the original's shard is told; nil where a post passes nothing on.
    static func effect(of post: Post, isCounted: Bool, active: Bool, trace: String?) -> Effect? {
        post.reblogOf.map { original in
            Effect(
                EffectKinds.postsReblog,
                owner: post.id,
                payload: ReblogEffect(
                    original: original,
                    reblog: PostReference(id: post.id, author: post.author),
                    isCounted: isCounted,
                    active: active
                ),
                traceparent: trace
            )
        }
    }
}

/// Carries a reblog to the shard of the post that is passed on.
///
/// One that comes after the original was deleted is deleted in turn: the original is looked at after the mirror
/// is written, and ``DeleteReblogs`` reads the mirror after the original is deleted, so one of the two sees the other.
struct NoteReblog: EffectHandler {
    let kind = EffectKinds.postsReblog
    let reblog: ReblogPost

    func target(of effect: ClaimedEffect) -> BucketID? {
        // What cannot be read has no target; `handle` buries it.
        (try? effect.decode(ReblogEffect.init))?.original.id.bucket
    }

    func handle(_ effect: ClaimedEffect) async throws {
        let noted = try effect.decode(ReblogEffect.init)
        let directory = reblog.directory
        try await reblog.reblogs.note(noted, trace: effect.traceparent)
        await directory.cache.forget([noted.original.id])
        guard noted.active, try await directory.store.post(noted.original.id) == nil,
            let post = try await directory.store.post(noted.reblog.id)?.post
        else { return }
        try await reblog.delete([post], trace: effect.traceparent)
    }
}

/// A post is deleted: deletes the posts that pass it on, a batch at a time.
struct DeleteReblogs: EffectHandler {
    /// Reblogs of one batch, and batches of one run, which has to end within its lease.
    static let batchLimit = 50
    static let runLimit = 4
    /// Until the next run.
    private static let pause = Duration.milliseconds(200)

    let kind = EffectKinds.postsOriginalGone
    let reblog: ReblogPost

    func handle(_ effect: ClaimedEffect) async throws {
        let gone = try effect.decode(PostEffect.init)
        for _ in 0..<Self.runLimit {
            let batch = try await reblog.reblogs.reblogs(of: gone.post, limit: Self.batchLimit)
            let ids = batch.map { PostID(rawValue: $0.cursor) }
            let posts = try await reblog.directory.store.posts(ids).map(\.post)
            try await reblog.delete(posts, trace: effect.traceparent)
            // Noted here as well, so that the next batch has others; their own effects will say the same.
            for entry in batch {
                try await reblog.reblogs.note(
                    ReblogEffect(
                        original: PostReference(id: gone.post, author: gone.author),
                        reblog: PostReference(
                            id: PostID(rawValue: entry.cursor),
                            author: entry.value
                        ),
                        isCounted: true,
                        active: false
                    ),
                    trace: effect.traceparent
                )
            }
            if batch.count < Self.batchLimit { return }
        }
        throw EffectError.later(after: Self.pause)
    }
}
