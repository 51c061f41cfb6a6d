package import Contracts
package import Jobs
package import Pages
package import Sharding

/// `feed.backfill`: a follow has reached the author's shard. Brings the author's recent posts into the feed.
///
/// The edge is committed there, so fan-out delivers every post that is published from now on; what was
/// published before is read here.
package struct BackfillHandler: EffectHandler {
    package let kind = EffectKinds.feedBackfill
    private let store: FeedStore
    private let posts: any PostsClient
    private let drop: PageDrop?
    private let threshold: Int

    package init(store: FeedStore, posts: any PostsClient, drop: PageDrop?, threshold: Int) {
        self.store = store
        self.posts = posts
        self.drop = drop
        self.threshold = threshold
    }

    package func target(of effect: ClaimedEffect) -> BucketID? {
        // An effect that cannot be read has no target; handling it says why.
        try? effect.decode(FollowEffect.init).reader.bucket
    }

    package func handle(_ effect: ClaimedEffect) async throws {
        let follow = try effect.decode(FollowEffect.init)
        guard let author = try await store.standing(of: follow.author), !author.isMerged else {
            return
        }
        if author.followers > threshold {
            // Not only the next post: what lies in feeds has to be taken out of them when it is deleted.
            return try await store.markPull(follow.author, followers: author.followers)
        }
        // A feed that is not kept is rebuilt when its reader comes back, follows included.
        guard try await store.isKept(follow.reader) else { return }
        let found = try await posts.recentPosts(
            of: [follow.author],
            before: nil,
            after: nil,
            limit: HomeTimeline.bound
        )
        guard !found.isEmpty else { return }
        try await store.backfill(found, for: follow.reader)
        await drop?.homes(of: [follow.reader.rawValue])
    }
}

/// `feed.cleanup`: a follow has ended. Takes the author's posts out of the feed.
package struct CleanUpHandler: EffectHandler {
    package let kind = EffectKinds.feedCleanUp
    private let store: FeedStore
    private let drop: PageDrop?

    package init(store: FeedStore, drop: PageDrop?) {
        self.store = store
        self.drop = drop
    }

    package func target(of effect: ClaimedEffect) -> BucketID? {
        // As above.
        try? effect.decode(FollowEffect.init).reader.bucket
    }

    package func handle(_ effect: ClaimedEffect) async throws {
        let follow = try effect.decode(FollowEffect.init)
        try await store.cleanUp(author: follow.author, for: follow.reader)
        await drop?.homes(of: [follow.reader.rawValue])
    }
}
