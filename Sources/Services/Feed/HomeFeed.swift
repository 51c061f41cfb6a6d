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
        /// Posts that are there for their hashtags, whoever wrote them.
        var tagged: Set<PostID>
    }

    /// The page that is asked for. Deleted posts do not make it shorter: it is filled from what follows.
    package func page(of reader: UserID, _ request: PageRequest) async throws -> Page {
        if let outline = try await window(of: reader, request) {
            let page = try await hydrate(outline, request, for: reader)
            if page.isFull || outline.timeline.isExhausted { return page }
        }
        // Here how far the timeline goes decides, or that it has to be rebuilt.
        let outline = try await outline(of: reader, request)
        return try await hydrate(outline, request, for: reader)
    }

    private func hydrate(
        _ outline: Outline,
        _ request: PageRequest,
        for reader: UserID
    ) async throws -> Page {
        // A post that is passed on is shown once on a page, however many pass it on.
        var seen: Set<PostID> = []
        let page = try await FilledPage<StatusEntity>(
            request,
            cursor: { (post: PostReference) in post.id.rawValue },
            read: { rest in outline.timeline.page(rest) },
            show: { posts in
                let found = try await statuses(posts, outline, for: reader)
                return posts.compactMap { post in
                    guard let status = found[post.id],
                        seen.insert(status.reblog?.id ?? status.id).inserted
                    else { return nil }
                    return (post, status)
                }
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

    private func statuses(
        _ posts: [PostReference],
        _ outline: Outline,
        for reader: UserID
    ) async throws -> [PostID: StatusEntity] {
        let known = posts.filter { !outline.tagged.contains($0.id) }
        let found = try await self.posts.homeStatuses(known, viewer: reader, marks: outline.marks)
        guard known.count < posts.count else { return found }
        let tagged = posts.map(\.id).filter(outline.tagged.contains)
        let others = try await self.posts.statuses(tagged, viewer: reader, by: .discovery)
        return found.merging(others) { first, _ in first }
    }

    // MARK: Outlines

    /// What one source has in a window, and how much between the top and the window's far end.
    private typealias Part = (posts: [PostReference], newer: Int)

    /// What lies around the page alone; nil where that does not decide what is on it.
    ///
    /// It does not where the page may reach the end of the timeline: that depends on everything above, and on the
    /// feed's floor. Everything that the reader's own shard knows is asked for at once: entries, own posts, marks.
    private func window(of reader: UserID, _ request: PageRequest) async throws -> Outline? {
        let window = FeedWindow(
            above: request.lower,
            below: request.upper,
            limit: request.limit * 2,
            isAscending: request.isAscending
        )
        let pullAuthors = await pullAuthors.current()
        async let ownPosts = recent(of: [reader], in: window)
        async let taggedPosts = tagged(for: reader, in: window)
        async let marks = posts.homeMarks(of: reader, in: window)
        let found = try await store.skeleton(of: reader, in: window, pullAuthors: pullAuthors)
        let own = try await ownPosts, strange = try await taggedPosts, known = try await marks
        guard let skeleton = found else { return nil }
        if skeleton.wantsTouch { touch(reader) }
        if window.isAscending, skeleton.floor.rawValue > window.above { return nil }
        let pulled = skeleton.pulled.filter { $0 != reader }
        var aboveFloor = window
        aboveFloor.above = max(window.above, skeleton.floor.rawValue)
        let merged = try await recent(of: pulled, in: aboveFloor)
        let timeline = HomeTimeline(
            entries: skeleton.references,
            merged: own.posts + merged.posts + strange.posts,
            floor: skeleton.floor,
            in: window
        )
        let newer = skeleton.newer + own.newer + merged.newer + strange.newer
        let reach = newer + (window.isAscending ? 0 : timeline.references.count)
        guard window.top == nil || reach <= HomeTimeline.bound else { return nil }
        let isShort = timeline.page(request).count < request.limit
        guard !isShort || timeline.isComplete || request.sinceID != nil || window.isAscending else {
            return nil
        }
        let followed = Set((skeleton.references + own.posts + merged.posts).map(\.id))
        return Outline(
            timeline: timeline,
            merged: pulled,
            marks: known,
            tagged: Set(strange.posts.map(\.id)).subtracting(followed)
        )
    }

    /// Of what authors have posted.
    private func recent(of authors: [UserID], in window: FeedWindow) async throws -> Part {
        guard let top = window.top else {
            return (try await posts.recentPosts(of: authors, in: window), 0)
        }
        async let newer = posts.recentCount(of: authors, from: top, limit: HomeTimeline.bound)
        let found = try await posts.recentPosts(of: authors, in: window)
        return (found, try await newer)
    }

    /// Of what has hashtags that the reader follows, which few do: it is counted by reading it.
    private func tagged(for reader: UserID, in window: FeedWindow) async throws -> Part {
        guard let top = window.top else {
            return (try await posts.taggedPosts(for: reader, in: window), 0)
        }
        let above = FeedWindow(above: top - 1, limit: HomeTimeline.bound)
        async let newer = posts.taggedPosts(for: reader, in: above)
        let found = try await posts.taggedPosts(for: reader, in: window)
        return (found, try await newer.count)
    }

    /// The whole timeline, rebuilt if it has to be.
    private func outline(of reader: UserID, _ request: PageRequest) async throws -> Outline {
        if let outline = try await assemble(reader, request) { return outline }
        try await RebuildFeed(store: store, posts: posts)(reader)
        if let outline = try await assemble(reader, request, acceptsShort: true) { return outline }
        // Given up again between the rebuild and this read; the client may ask once more.
        throw ServiceError.unavailable("Your feed is being prepared.")
    }

    /// Nil if the feed has to be rebuilt first: it is not kept, or it ends too early for this page.
    private func assemble(
        _ reader: UserID,
        _ request: PageRequest,
        acceptsShort: Bool = false
    ) async throws -> Outline? {
        let whole = FeedWindow(limit: HomeTimeline.bound)
        let pullAuthors = await pullAuthors.current()
        async let ownPosts = posts.recentPosts(of: [reader], in: whole)
        async let tagged = posts.taggedPosts(for: reader, in: whole)
        let found = try await store.skeleton(of: reader, in: whole, pullAuthors: pullAuthors)
        let own = try await ownPosts, strange = try await tagged
        guard let skeleton = found else { return nil }
        if skeleton.wantsTouch { touch(reader) }
        let pulled = skeleton.pulled.filter { $0 != reader }
        let merged = try await posts.recentPosts(
            of: pulled,
            in: FeedWindow(above: skeleton.floor.rawValue, limit: whole.limit)
        )
        let timeline = HomeTimeline(
            entries: skeleton.references,
            merged: own + merged + strange,
            floor: skeleton.floor
        )
        let isShort = !request.isAscending && timeline.page(request).count < request.limit
        let needsDepth = isShort && !timeline.isComplete && request.sinceID == nil
        guard !needsDepth || acceptsShort else { return nil }
        let followed = Set((skeleton.references + own + merged).map(\.id))
        return Outline(
            timeline: timeline,
            merged: pulled,
            marks: ViewerMarks(),
            tagged: Set(strange.map(\.id)).subtracting(followed)
        )
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
