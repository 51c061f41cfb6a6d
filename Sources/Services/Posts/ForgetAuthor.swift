import Contracts
import Database
import Jobs
import Postgres
import Sharding

/// Deletes what a deleted account has posted, and takes its likes back.
///
/// A batch at a time: each run does some batches and comes again while there is more. What it deletes is found by
/// being there, so that it may run twice, or stop anywhere.
struct ForgetAuthor: EffectHandler {
    /// Posts of one transaction, and likes of one round.
    static let batchLimit = 50

    /// Batches of one run, which has to end within its lease.
    static let runLimit = 4

    /// Until the next run; the mirrors of likes that were taken back follow by effects of their own.
    private static let pause = Duration.milliseconds(500)

    /// A list of likes that lags for so long lags for ever: its effect was given up, and so is this one.
    private static let patience = Duration.seconds(24 * 3600)

    let kind = EffectKinds.postsAuthorGone
    let directory: PostDirectory

    func handle(_ effect: ClaimedEffect) async throws {
        let author = try effect.decode(UserEffect.init).user
        var deleted = 0
        for _ in 0..<Self.runLimit {
            deleted = try await deletePosts(of: author, trace: effect.traceparent)
            if deleted < Self.batchLimit { break }
        }
        let likes = try await takeLikesBack(of: author, trace: effect.traceparent)
        guard deleted == Self.batchLimit || likes > 0 else { return }
        guard effect.createdAt + Self.patience > Timestamp.now else {
            throw EffectError.dead("posts or likes of \(author) are left")
        }
        throw EffectError.later(after: Self.pause)
    }

    private func deletePosts(of author: UserID, trace: String?) async throws -> Int {
        let posts = try await directory.store.some(of: author, limit: Self.batchLimit)
        guard !posts.isEmpty else { return 0 }
        _ = try await directory.store.database.write(
            on: author,
            posts.map { counted in
                PostStore.delete(
                    counted.post,
                    effects: DeletePost.effects(of: counted.post, trace: trace)
                )
            }
        )
        await directory.cache.forget(posts.map(\.post.id))
        return posts.count
    }

    /// Likes are undone where they are true, beside each post; answers how many the actor's list still showed.
    private func takeLikesBack(of actor: UserID, trace: String?) async throws -> Int {
        let likes = try await directory.favourites.favourites(
            of: actor,
            lower: 0,
            upper: .max,
            ascending: false,
            limit: Self.batchLimit
        )
        for post in likes.map(\.value)
        where try await directory.favourites.set(liked: false, post, by: actor, trace: trace)
            == .changed
        {
            await directory.cache.forget([post])
        }
        return likes.count
    }
}
