import Contracts
import Database
import HTTP
import Jobs
import Postgres
import ServiceKit
import Sharding

/// Deletes a post: its row stays as a tombstone, its feeds, lists and photos follow by effects.
struct DeletePost: Sendable {
    let directory: PostDirectory

    /// Answers the post as it was, with its source text, so that a client can offer to write it again.
    func callAsFunction(_ call: Call, _ id: PostID, by author: UserID) async throws -> StatusEntity
    {
        let seen = try await directory.visible(directory.fragments([id]), to: author)
        guard let fragment = seen[id]?.fragment, fragment.post.author == author,
            var entity = try await directory.present(seen, viewer: author)[id]
        else { throw ServiceError.notFound }
        entity.text = fragment.post.text

        let statement = PostStore.delete(
            fragment.post,
            effects: Self.effects(of: fragment.post, trace: call.request.traceparent)
        )
        let rows = try await directory.store.database.write(on: id, [statement])
        await directory.cache.forget([id])
        // Whoever deletes it at the same time has won, and its answer is as good as ours would be.
        guard rows.first?.isEmpty == false else { throw ServiceError.notFound }
        return entity
    }

    static func effects(of post: Post, trace: String?) -> [Effect] {
        var effects: [Effect] = []
        if post.isFannedOut {
            effects.append(
                Effect(
                    EffectKinds.feedRetract,
                    owner: post.id,
                    payload: PostEffect(post: post.id, author: post.author),
                    traceparent: trace
                )
            )
        }
        if let reply = PublishPost.reply(post, active: false) {
            effects.append(
                Effect(EffectKinds.postsReply, owner: post.id, payload: reply, traceparent: trace)
            )
        }
        if post.isHeld, let held = HeldEffect(post, waits: false) {
            effects.append(
                Effect(EffectKinds.postsHeld, owner: post.id, payload: held, traceparent: trace)
            )
        }
        if !post.media.isEmpty {
            effects.append(
                Effect(
                    EffectKinds.mediaDetached,
                    owner: post.id,
                    payload: MediaAttachedEffect(post: post.id, media: post.media),
                    traceparent: trace
                )
            )
        }
        return effects
    }
}
