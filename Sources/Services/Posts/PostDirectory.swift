import Contracts
import Database
import Memcache
import Pages
import Postgres
import Sharding

/// Posts for readers: fragments from the cache or the shards, what the viewer may see, the viewer's marks.
struct PostDirectory: PostsClient {
    /// How many posts one call hydrates.
    static let batchLimit = 400

    let store: PostStore
    let favourites: FavouriteStore
    let bookmarks: BookmarkStore
    let marks: MarkStore
    let cache: PostCache
    let accounts: any AccountsClient
    let graph: any GraphClient
    let media: any MediaClient
    let rendering: PostRendering
    /// Rendered pages, and with them what has been withdrawn a moment ago; workers have none.
    let pages: PageCache?

    var recent: (any RecentWithdrawals)? { pages?.follower }

    /// Accounts as a viewer may see them.
    var sight: AccountSight { AccountSight(accounts: accounts, graph: graph, recent: recent) }

    // MARK: PostsClient

    func statuses(
        _ ids: [PostID],
        viewer: UserID?,
        by way: VisibilityRules.Way
    ) async throws -> [PostID: StatusEntity] {
        let seen = try await visible(fragments(ids, for: viewer), to: viewer, by: way)
        return try await present(seen, viewer: viewer, by: way)
    }

    /// The posts that others pass on, as the viewer sees them, whichever of them the viewer may see.
    func originals(
        of reblogs: [PostFragment],
        viewer: UserID?,
        by way: VisibilityRules.Way
    ) async throws -> [PostID: StatusEntity] {
        let ids = Set(reblogs.compactMap { $0.post.reblogOf?.id })
        return ids.isEmpty ? [:] : try await statuses(ids.sorted(), viewer: viewer, by: way)
    }

    func homeStatuses(
        _ posts: [PostReference],
        viewer: UserID,
        marks: ViewerMarks
    ) async throws -> [PostID: StatusEntity] {
        // The reader's own rows have chosen them: all are followed, none is hidden.
        let standing = ViewerStanding(followed: Set(posts.map(\.author)))
        let rules = VisibilityRules(viewer: viewer, standing: standing, recent: recent)
        let hydrate = Hydration(
            directory: self,
            rules: PostRules(rules: rules),
            way: .home,
            marks: marks
        )
        return try await hydrate(posts)
    }

    func homeMarks(of viewer: UserID, in window: FeedWindow) async throws -> ViewerMarks {
        try await marks.home(of: viewer, in: window)
    }

    func recentPosts(of authors: [UserID], in window: FeedWindow) async throws -> [PostReference] {
        guard !authors.isEmpty, window.limit > 0 else { return [] }
        return try await store.recent(of: authors, in: window)
    }

    func recentCount(of authors: [UserID], from id: Int64, limit: Int) async throws -> Int {
        guard !authors.isEmpty else { return 0 }
        return try await store.recentCount(of: authors, from: id, limit: limit)
    }

    func taggedPosts(for reader: UserID, in window: FeedWindow) async throws -> [PostReference] {
        let topics = TopicStore(database: store.database)
        let tags = try await topics.followed(by: reader, limit: TagRoutes.mergedLimit)
            .compactMap { Topic(tag: $0.name) }
        guard !tags.isEmpty else { return [] }
        let posts = try await topics.posts(
            about: tags,
            lower: window.above,
            upper: window.below,
            ascending: window.isAscending,
            withReplies: false,
            limit: window.limit
        )
        return window.cut(Set(posts).sorted { $0.id > $1.id })
    }

    // MARK: Steps

    /// The posts that exist, whoever asks. A shard that does not answer fails the call: a page that
    /// silently leaves posts out would make a client page past them.
    func fragments(_ ids: [PostID]) async throws -> [PostID: PostFragment] {
        try await fragments(ids, from: cache.cache)
    }

    /// The same for a viewer: very hot posts of others may be a moment old.
    func fragments(
        _ ids: [PostID],
        for viewer: UserID?
    ) async throws -> [PostID: PostFragment] {
        try await fragments(ids, from: cache.source(of: ids, for: viewer))
    }

    private func fragments(
        _ ids: [PostID],
        from source: any CacheClient
    ) async throws -> [PostID: PostFragment] {
        precondition(ids.count <= Self.batchLimit, "too many posts at once")
        guard !ids.isEmpty else { return [:] }
        return try await PostCache(cache: source).posts(ids, load: load)
    }

    /// Posts with what they show; rows and pictures are asked for together.
    func load(_ ids: [PostID]) async throws -> [PostID: PostFragment] {
        async let shown = media.attachments(of: ids)
        let posts = try await store.posts(ids)
        var attachments = try await shown
        // A photo that came to a post between the two looks.
        let late = posts.flatMap(\.post.media).filter { attachments[$0] == nil }
        if !late.isEmpty {
            attachments.merge(try await media.attachments(late)) { first, _ in first }
        }
        var fragments: [PostID: PostFragment] = [:]
        for post in posts {
            fragments[post.post.id] = PostFragment(
                post,
                attachments: post.post.media.compactMap { attachments[$0] },
                rendering: rendering
            )
        }
        return fragments
    }

    /// What the viewer may see of these, each with its author; comments only with the post that they belong to.
    ///
    /// Whose author is gone is left out. One question to the viewer's shard, one to the cache for the authors.
    func visible(
        _ fragments: [PostID: PostFragment],
        to viewer: UserID?,
        by way: VisibilityRules.Way = .address
    ) async throws -> [PostID: SeenPost] {
        guard !fragments.isEmpty else { return [:] }
        let all = try await withTops(fragments)
        async let accounts = accounts.accounts(Array(Set(all.values.map(\.post.author))))
        let rules = try await rules(of: viewer, about: all.values.map(\.post))
        let authors = try await accounts
        return fragments.compactMapValues { fragment in
            guard let account = authors[fragment.post.author],
                rules.allow(fragment.post, of: account.state, by: way),
                allowsTop(of: fragment.post, in: all, authors, rules)
            else { return nil }
            return SeenPost(
                fragment: fragment,
                account: account.concealed(by: rules.rules),
                showsLikes: rules.showsLikes(of: fragment.post)
            )
        }
    }

    /// With the posts that the comments among them belong to.
    func withTops(_ fragments: [PostID: PostFragment]) async throws -> [PostID: PostFragment] {
        let tops = Set(fragments.values.compactMap(\.post.top)).filter { fragments[$0] == nil }
        guard !tops.isEmpty else { return fragments }
        return fragments.merging(try await self.fragments(tops.sorted())) { first, _ in first }
    }

    /// Whether the post that a comment belongs to may be seen. A comment outlives a post that is deleted.
    func allowsTop(
        of post: Post,
        in fragments: [PostID: PostFragment],
        _ authors: [UserID: AccountEntity],
        _ rules: PostRules
    ) -> Bool {
        guard let top = post.top, post.author != rules.viewer, let found = fragments[top] else {
            return true
        }
        guard let author = authors[found.post.author] else { return false }
        return rules.allow(found.post, of: author.state, by: .address)
    }

    /// The rules for a viewer and these posts.
    func rules(of viewer: UserID?, about posts: [Post]) async throws -> PostRules {
        let others = Set(posts.map(\.author)).filter { $0 != viewer }.sorted()
        guard let viewer, !others.isEmpty else {
            return PostRules(rules: VisibilityRules(viewer: viewer, recent: recent))
        }
        let authors = posts.filter { $0.visibility == .closeFriends }.map(\.author)
        async let closeFriendOf = closeFriendships(of: viewer, among: authors)
        var standing = try await graph.standing(of: viewer, to: others)
        standing.closeFriendOf = try await closeFriendOf
        return PostRules(
            rules: VisibilityRules(viewer: viewer, standing: standing, recent: recent)
        )
    }

    /// Nobody is asked where no post is for close friends.
    func closeFriendships(
        of viewer: UserID?,
        among authors: [UserID]
    ) async throws -> Set<UserID> {
        let others = Set(authors).filter { $0 != viewer }.sorted()
        guard let viewer, !others.isEmpty else { return [] }
        return try await graph.closeFriendships(of: viewer, among: others)
    }

    /// Entities of posts that the viewer may see, without those that pass on what the viewer may not.
    func present(
        _ posts: [PostID: SeenPost],
        viewer: UserID?,
        by way: VisibilityRules.Way = .address
    ) async throws -> [PostID: StatusEntity] {
        guard !posts.isEmpty else { return [:] }
        let reblogs = posts.values.map(\.fragment).filter { $0.post.reblogOf != nil }
        async let originals = originals(of: reblogs, viewer: viewer, by: way)
        async let marks = marks(on: posts.keys.sorted(), by: viewer)
        let (known, passedOn) = try await (marks, originals)
        var entities: [PostID: StatusEntity] = [:]
        for (id, seen) in posts {
            if let original = seen.post.reblogOf {
                entities[id] = passedOn[original.id].map {
                    rendering.reblog(seen.post, account: seen.account, of: $0)
                }
                continue
            }
            entities[id] = rendering.entity(
                seen.fragment,
                account: seen.account,
                showsLikes: seen.showsLikes,
                viewer: viewer.map { state(of: seen.post, for: $0, known[id]) }
            )
        }
        return try await withVotes(entities, of: viewer)
    }

    func state(
        of post: Post,
        for viewer: UserID,
        _ mark: ViewerMarks.Mark?
    ) -> StatusEntity.ViewerState {
        StatusEntity.ViewerState(
            favourited: mark?.isLiked ?? false,
            bookmarked: mark?.isBookmarked ?? false,
            reblogged: mark?.isReblogged ?? false,
            pinned: post.author == viewer ? post.isPinned : nil
        )
    }

    private func marks(
        on ids: [PostID],
        by viewer: UserID?
    ) async throws -> [PostID: ViewerMarks.Mark] {
        guard let viewer else { return [:] }
        return try await marks.complete(ViewerMarks(), on: ids, by: viewer).known
    }

    // MARK: One post

    /// The post, if it exists and the viewer may see it.
    func fragment(
        _ id: PostID,
        viewer: UserID?,
        by way: VisibilityRules.Way = .address
    ) async throws -> PostFragment? {
        try await visible(fragments([id], for: viewer), to: viewer, by: way)[id]?.fragment
    }

    /// What the viewer sees of the post, or of what it passes on, without marks.
    func seenOriginal(_ id: PostID, viewer: UserID) async throws -> SeenPost? {
        guard let found = try await visible(fragments([id], for: viewer), to: viewer)[id] else {
            return nil
        }
        guard let original = found.post.reblogOf?.id else { return found }
        return try await visible(fragments([original], for: viewer), to: viewer)[original]
    }

    /// The entity of a post that is no reblog, from what is known of it.
    func entity(
        of seen: SeenPost,
        for viewer: UserID,
        _ mark: ViewerMarks.Mark
    ) async throws -> StatusEntity {
        let entity = rendering.entity(
            seen.fragment,
            account: seen.account,
            showsLikes: seen.showsLikes,
            viewer: state(of: seen.post, for: viewer, mark)
        )
        return try await withVotes([seen.post.id: entity], of: viewer)[seen.post.id] ?? entity
    }

    /// The same, or what it passes on: whatever is done to a reblog is meant for its original.
    func original(_ id: PostID, viewer: UserID?) async throws -> PostFragment? {
        guard let found = try await fragment(id, viewer: viewer) else { return nil }
        guard let original = found.post.reblogOf else { return found }
        return try await fragment(original.id, viewer: viewer)
    }

    func status(_ id: PostID, viewer: UserID?) async throws -> StatusEntity? {
        try await statuses([id], viewer: viewer)[id]
    }
}
