import Accounts
import EventLoops
import Feed
import Instance
import Posts

/// How much there is, asked of the shards now and then: clients show it, nobody counts on it.
final class NodeFigures: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    /// How old estimates from the shards' statistics may be, and how old the count of active users.
    private static let lifetimeMilliseconds: UInt64 = 60_000
    private static let activeLifetimeMilliseconds: UInt64 = 3_600_000

    private let loop: EventLoop
    private let accounts: AccountDirectory
    private let feed: FeedService
    private let posts: PostsService
    private var known = InstanceService.Figures(users: 0, activeUsers: 0, statuses: 0)
    private var askedAt: UInt64?
    private var activeAskedAt: UInt64?

    init(loop: EventLoop, accounts: AccountDirectory, feed: FeedService, posts: PostsService) {
        self.loop = loop
        self.accounts = accounts
        self.feed = feed
        self.posts = posts
    }

    func current() async -> InstanceService.Figures {
        if let askedAt, loop.milliseconds - askedAt < Self.lifetimeMilliseconds { return known }
        askedAt = loop.milliseconds
        // A shard that does not answer leaves the figures of before; they are estimates anyway.
        if let count = try? await posts.estimatedCount() { known.statuses = count }
        // As above.
        if let count = try? await accounts.estimatedCount() { known.users = count }
        await countActive()
        // Statistics come after the first of a shard's users.
        known.users = max(known.users, known.activeUsers)
        return known
    }

    private func countActive() async {
        let isNew = activeAskedAt.map {
            loop.milliseconds - $0 < Self.activeLifetimeMilliseconds && known.activeUsers > 0
        }
        guard isNew != true else { return }
        activeAskedAt = loop.milliseconds
        // As above.
        if let count = try? await feed.activeReaders() { known.activeUsers = count }
    }
}
