import Contracts
import Database
import Postgres
import Sharding

/// Posts for readers: fragments from the cache or the shards, what the viewer may see, the viewer's marks.
struct PostDirectory: PostsClient {
    /// How many posts one call hydrates.
    static let batchLimit = 400

    let store: PostStore
    let favourites: FavouriteStore
    let bookmarks: BookmarkStore
    let cache: PostCache
    let accounts: any AccountsClient
    let graph: any GraphClient
    let media: any MediaClient
    let rendering: PostRendering

    // MARK: PostsClient

    func statuses(
        _ ids: [PostID],
        viewer: UserID?
    ) async throws -> [PostID: StatusEntity] {
        let fragments = try await visible(fragments(ids), to: viewer)
        return try await present(fragments, viewer: viewer)
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
        let ids = Array(Set(ids)).sorted()
        guard !ids.isEmpty else { return [:] }
        let cached = await cache.get(ids)
        let missing = ids.filter { cached[$0] == nil }
        let loaded = try await cache.fill(missing, load: load)
        return cached.merging(loaded) { cached, _ in cached }
    }

    private func load(_ ids: [PostID]) async throws -> [PostID: PostFragment] {
        let posts = try await store.posts(ids)
        let photos = posts.flatMap(\.post.media)
        let attachments = photos.isEmpty ? [:] : try await media.attachments(photos)
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
        let restricted = fragments.values.filter { !$0.post.visibility.isOpen }
        guard !restricted.isEmpty else { return fragments }
        let followed = try await followed(authorsOf: restricted, by: viewer)
        return fragments.filter {
            PostVisibility.allows($0.value.post, viewer: viewer, followed: followed)
        }
    }

    private func followed(
        authorsOf fragments: [PostFragment],
        by viewer: UserID?
    ) async throws -> Set<UserID> {
        guard let viewer else { return [] }
        let authors = Set(
            fragments.filter { $0.post.visibility == .private && $0.post.author != viewer }
                .map(\.post.author)
        )
        guard !authors.isEmpty else { return [] }
        return try await graph.followed(by: viewer, among: authors.sorted())
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
        let (found, liked, bookmarked) = try await (authors, marks.liked, marks.bookmarked)
        var entities: [PostID: StatusEntity] = [:]
        for (id, fragment) in fragments {
            guard let account = found[fragment.post.author] else { continue }
            let state = viewer.map { viewer in
                StatusEntity.ViewerState(
                    favourited: liked.contains(id),
                    bookmarked: bookmarked.contains(id),
                    pinned: fragment.post.author == viewer ? fragment.post.isPinned : nil
                )
            }
            entities[id] = rendering.entity(fragment, account: account, viewer: state)
        }
        return entities
    }

    private func marks(
        on ids: [PostID],
        by viewer: UserID?
    ) async throws -> (liked: Set<PostID>, bookmarked: Set<PostID>) {
        guard let viewer else { return ([], []) }
        async let liked = favourites.liked(ids, by: viewer)
        async let bookmarked = bookmarks.bookmarked(ids, by: viewer)
        return try await (liked, bookmarked)
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

/// Who may see a post; the same answer for every way that leads to it.
enum PostVisibility {
    static func allows(_ post: Post, viewer: UserID?, followed: Set<UserID>) -> Bool {
        if post.visibility.isOpen { return true }
        guard let viewer else { return false }
        if post.author == viewer || post.mentions.contains(where: { $0.user == viewer }) {
            return true
        }
        return post.visibility == .private && followed.contains(post.author)
    }
}
