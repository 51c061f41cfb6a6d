package import Contracts
internal import Sharding

/// Rebuilds one reader's feed from the posts, as when they come back after a long absence.
///
/// The order makes it safe against fan-out: the reader is marked first, so from that commit on every post is
/// delivered; whatever was skipped before it is found by reading the posts afterwards.
package struct RebuildFeed: Sendable {
    let store: FeedStore
    let posts: any PostsClient

    package init(store: FeedStore, posts: any PostsClient) {
        self.store = store
        self.posts = posts
    }

    package func callAsFunction(_ reader: UserID) async throws {
        let generation = try await store.activate(reader)
        let found = try await contents(of: reader)
        try await store.finishRebuild(
            of: reader,
            generation: generation,
            posts: found.posts,
            floor: found.floor
        )
    }

    /// What the feed of a reader has to hold: the newest posts of those followed who are not merged on
    /// reading, and the id at and below which there may be more.
    func contents(of reader: UserID) async throws -> (posts: [PostReference], floor: PostID) {
        // An author who is missing here because a shard is down is delivered as well as merged: seen once.
        let pulled = Set(await store.pullAuthorsOnEachShard().values.joined())
        let authors = try await store.following(of: reader).filter { !pulled.contains($0) }
        guard !authors.isEmpty else { return ([], PostID(rawValue: 0)) }
        let found = try await posts.recentPosts(
            of: authors,
            limit: HomeTimeline.bound
        )
        guard found.count >= HomeTimeline.bound, let oldest = found.last else {
            return (found, PostID(rawValue: 0))
        }
        return (found, PostID(rawValue: oldest.id.rawValue - 1))
    }

    /// Compares a feed with what a rebuild would make of it: nothing differs once effects are at rest.
    package func compare(_ reader: UserID) async throws -> FeedDifference {
        guard
            let kept = try await store.skeleton(
                of: reader,
                in: FeedWindow(limit: HomeTimeline.bound),
                pullAuthors: []
            )
        else { return FeedDifference(missing: [], surplus: []) }
        let right = try await contents(of: reader)
        let floor = max(kept.floor, right.floor)
        let have = Set(kept.entries.filter { $0 > floor })
        let want = Set(right.posts.map(\.id).filter { $0 > floor })
        return FeedDifference(
            missing: want.subtracting(have).sorted(),
            surplus: have.subtracting(want).sorted()
        )
    }
}

/// How a feed differs from the posts that it should hold.
package struct FeedDifference: Sendable, Equatable {
    package let missing: [PostID]
    /// Posts of merged authors that had been delivered before they were merged count here too; readers see
    /// them once either way.
    package let surplus: [PostID]
}
