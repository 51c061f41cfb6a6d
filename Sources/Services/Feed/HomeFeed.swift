package import Contracts
internal import EventLoops
internal import Logging
internal import Postgres
package import ServiceKit

/// Reads home timelines: skeleton, merge, hydrate.
package struct HomeFeed: Sendable {
    /// Rounds of hydration that one page may take when posts turn out to be deleted or hidden.
    private static let roundLimit = 8

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
    }

    /// The page that is asked for. Deleted posts do not make it shorter: it is filled from what follows.
    package func page(of reader: UserID, _ request: PageRequest) async throws -> Page {
        let isTop = request.maxID == nil && !request.isAscending
        if isTop {
            let limit = request.limit * 2
            let timeline = try await timeline(of: reader, request, limit: limit)
            let page = try await hydrate(timeline, request, for: reader)
            if page.isFull || timeline.posts.count < limit { return page }
        }
        // Further down, how far the timeline goes depends on everything above.
        let timeline = try await timeline(of: reader, request, limit: HomeTimeline.bound)
        return try await hydrate(timeline, request, for: reader)
    }

    private func hydrate(
        _ timeline: HomeTimeline,
        _ request: PageRequest,
        for reader: UserID
    ) async throws -> Page {
        var page = Page()
        var rest = request
        for _ in 0..<Self.roundLimit {
            rest.limit = request.limit - page.statuses.count
            let ids = timeline.page(rest)
            guard let newest = ids.first, let oldest = ids.last else { break }
            let found = try await posts.statuses(ids, viewer: reader)
            let statuses = ids.compactMap { found[$0] }
            if request.isAscending {
                page.statuses = statuses + page.statuses
                rest.minID = newest.rawValue
            } else {
                page.statuses += statuses
                rest.maxID = oldest.rawValue
            }
            page.first = max(page.first ?? newest, newest)
            page.last = min(page.last ?? oldest, oldest)
            guard ids.count == rest.limit, page.statuses.count < request.limit else { break }
        }
        page.isFull = page.statuses.count >= request.limit
        return page
    }

    private func timeline(
        of reader: UserID,
        _ request: PageRequest,
        limit: Int
    ) async throws -> HomeTimeline {
        if let timeline = try await assemble(reader, request, limit: limit) { return timeline }
        try await RebuildFeed(store: store, posts: posts)(reader)
        if let timeline = try await assemble(reader, request, limit: limit, acceptsShort: true) {
            return timeline
        }
        // Given up again between the rebuild and this read; the client may ask once more.
        throw ServiceError.unavailable("Your feed is being prepared.")
    }

    /// Takes the newest `limit` posts of each source. Nil if the feed has to be rebuilt first: it is not kept,
    /// or it ends too early for this page.
    private func assemble(
        _ reader: UserID,
        _ request: PageRequest,
        limit: Int,
        acceptsShort: Bool = false
    ) async throws -> HomeTimeline? {
        let lower = limit < HomeTimeline.bound ? request.lower : 0
        guard
            let skeleton = try await store.skeleton(
                of: reader,
                above: lower,
                below: .max,
                limit: limit,
                pullAuthors: await pullAuthors.current()
            )
        else { return nil }
        if skeleton.wantsTouch { touch(reader) }
        let merged = try await posts.recentPosts(
            of: [reader] + skeleton.pulled,
            before: nil,
            after: PostID(rawValue: max(lower, skeleton.floor.rawValue)),
            limit: limit
        )
        let timeline = HomeTimeline(
            entries: skeleton.entries,
            merged: merged.map(\.id),
            floor: skeleton.floor
        )
        let isShort = !request.isAscending && timeline.page(request).count < request.limit
        let needsDepth = isShort && !timeline.isComplete && request.sinceID == nil
        return needsDepth && !acceptsShort ? nil : timeline
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
