import Contracts
import EventLoops

/// Drops posts from the cache whose counts have changed: at once, but one post only so often.
///
/// Whoever likes a post sees it counted by the next read. A post that is liked hundreds of times a second would be
/// read from its shard as often, with all its changes that are not folded yet; after some in one moment, the others
/// wait for its end together. So a count lags by a moment at most, and a moment has a bounded number of reads.
final class CountRefresh: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    static let moment = Duration.milliseconds(250)
    /// How often one post is dropped in a moment.
    static let limit = 4
    /// Posts of one moment that are looked at; any others are dropped at each change.
    static let postLimit = 10_000

    private struct Drops {
        var count = 1
        /// Whether something changed after the last of them.
        var isOwed = false
    }

    private let loop: EventLoop
    private let cache: PostCache
    private var drops: [PostID: Drops] = [:]

    init(loop: EventLoop, cache: PostCache) {
        self.loop = loop
        self.cache = cache
    }

    /// Called after the change has committed and before it is answered.
    func changed(_ post: PostID) async {
        if note(post) { await cache.forget([post]) }
    }

    /// Whether the post is to be dropped now.
    private func note(_ post: PostID) -> Bool {
        if let known = drops[post] {
            if known.count < Self.limit {
                drops[post] = Drops(count: known.count + 1)
            } else {
                drops[post]?.isOwed = true
            }
            return known.count < Self.limit
        }
        guard drops.count < Self.postLimit else { return true }
        drops[post] = Drops()
        loop.after(Self.moment) { self.end(post) }
        return true
    }

    private func end(_ post: PostID) {
        guard drops.removeValue(forKey: post)?.isOwed == true else { return }
        loop.spawn { await self.changed(post) }
    }
}
