import Contracts
import Database
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

    // MARK: PostsClient

    func statuses(
        _ ids: [PostID],
        viewer: UserID?
    ) async throws -> [PostID: StatusEntity] {
        let fragments = try await visible(fragments(ids), to: viewer)
        return try await present(fragments, viewer: viewer)
    }

    func homeStatuses(
        _ posts: [PostReference],
        viewer: UserID,
        marks: ViewerMarks
    ) async throws -> [PostID: StatusEntity] {
        let authors = Set(posts.map(\.author))
        let rules = PostRules(
            viewer: viewer,
            standing: ViewerStanding(followed: authors),
            log: pages?.log
        )
        return try await Hydration(directory: self, rules: rules, marks: marks)(posts)
    }

    func homeMarks(of viewer: UserID, limit: Int) async throws -> ViewerMarks {
        try await marks.home(of: viewer, limit: limit)
    }

    func recentPosts(
        of authors: [UserID],
        before: PostID?,
        after: PostID?,
        limit: Int
    ) async throws -> [PostReference] {
        guard !authors.isEmpty, limit > 0 else { return [] }
        return try await store.recent(of: authors, after: after, before: before, limit: limit)
    }

    // MARK: Steps

    /// The posts that exist, whoever asks. A shard that does not answer fails the call: a page that
    /// silently leaves posts out would make a client page past them.
    func fragments(_ ids: [PostID]) async throws -> [PostID: PostFragment] {
        precondition(ids.count <= Self.batchLimit, "too many posts at once")
        guard !ids.isEmpty else { return [:] }
        return try await cache.posts(ids, load: load)
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

    /// Drops what the viewer may not see.
    func visible(
        _ fragments: [PostID: PostFragment],
        to viewer: UserID?
    ) async throws -> [PostID: PostFragment] {
        let others = Set(fragments.values.map(\.post.author)).filter { $0 != viewer }.sorted()
        var standing = ViewerStanding()
        if let viewer, !others.isEmpty {
            standing = try await graph.standing(of: viewer, to: others)
        }
        let rules = PostRules(viewer: viewer, standing: standing, log: pages?.log)
        return fragments.filter { rules.allow($0.value.post) }
    }

    /// Entities of fragments that the viewer may see; those whose author is gone are left out.
    func present(
        _ fragments: [PostID: PostFragment],
        viewer: UserID?
    ) async throws -> [PostID: StatusEntity] {
        guard !fragments.isEmpty else { return [:] }
        let ids = fragments.keys.sorted()
        async let authors = accounts.accounts(Array(Set(fragments.values.map(\.post.author))))
        async let marks = marks(on: ids, by: viewer)
        let (found, known) = try await (authors, marks)
        var entities: [PostID: StatusEntity] = [:]
        for (id, fragment) in fragments {
            guard let account = found[fragment.post.author] else { continue }
            entities[id] = rendering.entity(
                fragment,
                account: account,
                viewer: viewer.map { state(of: fragment.post, for: $0, known[id]) }
            )
        }
        return entities
    }

    func state(
        of post: Post,
        for viewer: UserID,
        _ mark: ViewerMarks.Mark?
    ) -> StatusEntity.ViewerState {
        StatusEntity.ViewerState(
            favourited: mark?.isLiked ?? false,
            bookmarked: mark?.isBookmarked ?? false,
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
    func fragment(_ id: PostID, viewer: UserID?) async throws -> PostFragment? {
        try await visible(fragments([id]), to: viewer)[id]
    }

    func status(_ id: PostID, viewer: UserID?) async throws -> StatusEntity? {
        try await statuses([id], viewer: viewer)[id]
    }
}
