package import Contracts
internal import EventLoops
internal import Logging
internal import Postgres
package import ServiceKit
internal import Sharding

/// Reads home timelines: skeleton, merge, hydrate.
package struct HomeFeed: Sendable {
    let loop: EventLoop
    let store: FeedStore
    let posts: any PostsClient
    let pullAuthors: PullAuthors
    let logger: Logger

    /// A page of a timeline, and the cursors of its ends.
    package struct Page: Sendable {
        package var statuses: [StatusEntity] = []
        package var first: PostID?
        package var last: PostID?
        /// Whether there may be more below.
        package var isFull = false
        /// Authors whose posts were merged into it.
        package var merged: [UserID] = []
    }

    /// What is known of a timeline before its posts are made.
    private struct Outline {
        var timeline: HomeTimeline
        var merged: [UserID]
        var marks: ViewerMarks
    }

    /// The page that is asked for. Deleted posts do not make it shorter: it is filled from what follows.
    package func page(of reader: UserID, _ request: PageRequest) async throws -> Page {
        let isTop = request.maxID == nil && !request.isAscending
        if isTop {
            let limit = request.limit * 2
            let outline = try await outline(of: reader, request, limit: limit)
            let page = try await hydrate(outline, request, for: reader)
            if page.isFull || outline.timeline.references.count < limit { return page }
        }
        // Further down, how far the timeline goes depends on everything above.
        let outline = try await outline(of: reader, request, limit: HomeTimeline.bound)
        return try await hydrate(outline, request, for: reader)
    }

    private func hydrate(
        _ outline: Outline,
        _ request: PageRequest,
        for reader: UserID
    ) async throws -> Page {
        let page = try await FilledPage<StatusEntity>(
            request,
            cursor: { (post: PostReference) in post.id.rawValue },
            read: { rest in outline.timeline.page(rest) },
            show: { posts in
                let found = try await self.posts.homeStatuses(
                    posts,
                    viewer: reader,
                    marks: outline.marks
                )
                return posts.compactMap { post in found[post.id].map { (post, $0) } }
            }
        )
        return Page(
            statuses: page.shown,
            first: page.first.map { PostID(rawValue: $0) },
            last: page.last.map { PostID(rawValue: $0) },
            isFull: page.isFull,
            merged: outline.merged
        )
    }

    private func outline(
        of reader: UserID,
        _ request: PageRequest,
        limit: Int
    ) async throws -> Outline {
        if let outline = try await assemble(reader, request, limit: limit) { return outline }
        try await RebuildFeed(store: store, posts: posts)(reader)
        if let outline = try await assemble(reader, request, limit: limit, acceptsShort: true) {
            return outline
        }
        // Given up again between the rebuild and this read; the client may ask once more.
        throw ServiceError.unavailable("Your feed is being prepared.")
    }

    /// Takes the newest `limit` posts of each source. Nil if the feed has to be rebuilt first: it is not kept,
    /// or it ends too early for this page.
    ///
    /// Everything that the reader's own shard knows is asked for at once: entries, own posts, marks.
    private func assemble(
        _ reader: UserID,
        _ request: PageRequest,
        limit: Int,
        acceptsShort: Bool = false
    ) async throws -> Outline? {
        let isTop = limit < HomeTimeline.bound
        let lower = isTop ? request.lower : 0
        let pullAuthors = await pullAuthors.current()
        async let ownPosts = posts.recentPosts(
            of: [reader],
            before: nil,
            after: PostID(rawValue: lower),
            limit: limit
        )
        async let marks = isTop ? posts.homeMarks(of: reader, limit: limit) : ViewerMarks()
        let skeleton = try await store.skeleton(
            of: reader,
            above: lower,
            below: .max,
            limit: limit,
            pullAuthors: pullAuthors
        )
        let own = try await ownPosts, known = try await marks
        guard let skeleton else { return nil }
        if skeleton.wantsTouch { touch(reader) }
        let pulled = skeleton.pulled.filter { $0 != reader }
        let merged = try await posts.recentPosts(
            of: pulled,
            before: nil,
            after: PostID(rawValue: max(lower, skeleton.floor.rawValue)),
            limit: limit
        )
        let timeline = HomeTimeline(
            entries: skeleton.references,
            merged: own + merged,
            floor: skeleton.floor
        )
        let isShort = !request.isAscending && timeline.page(request).count < request.limit
        let needsDepth = isShort && !timeline.isComplete && request.sinceID == nil
        guard !needsDepth || acceptsShort else { return nil }
        return Outline(timeline: timeline, merged: pulled, marks: known)
    }

    private func touch(_ reader: UserID) {
        loop.spawn {
            do throws(DatabaseError) {
                try await store.touch(reader)
            } catch {
                // The next read tries again; a feed is given up only after days without one.
                logger.debug("reader not touched", metadata: ["error": "\(error)"])
            }
        }
    }
}
