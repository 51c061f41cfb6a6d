import Contracts
import HTTP
import Postgres
import ServiceKit
import Sharding

/// Lists of posts: a user's own page, one's likes, one's bookmarks.
struct StatusListRoutes: Sendable {
    let directory: PostDirectory

    var endpoints: [Endpoint] { [byAccount, favourites, bookmarks] }

    private var byAccount: Endpoint {
        Endpoint(
            .get,
            "/api/v1/accounts/:id/statuses",
            operationID: "getAccountStatuses",
            summary: "A user's posts, newest first.",
            tag: "accounts",
            access: .optionalUser,
            inputs: Parameter.paging + [
                Parameter("only_media", .boolean, "Only posts with photos."),
                Parameter("exclude_replies", .boolean, "No comments."),
                Parameter("exclude_reblogs", .boolean, "Posts are not passed on here."),
                Parameter("pinned", .boolean, "Only pinned posts."),
                Parameter("tagged", .string, "Only posts with this hashtag."),
            ],
            output: .list("Status")
        ) { try await list($0) }
    }

    private func list(_ call: Call) async throws -> Response {
        let author: UserID = try call.id()
        guard try await directory.accounts.account(author) != nil else {
            throw ServiceError.notFound
        }
        let page = try PageRequest(call.input)
        let filter = PostStore.AuthorFilter(
            onlyMedia: call.input.bool("only_media") ?? false,
            excludeReplies: call.input.bool("exclude_replies") ?? false,
            onlyPinned: call.input.bool("pinned") ?? false,
            visibilities: try await visibilities(of: author, to: call.viewer)
        )
        let ids = try await directory.store.ids(
            of: author,
            filter: filter,
            lower: page.lower,
            upper: page.upper,
            ascending: page.isAscending,
            limit: page.limit
        ).sorted(by: >)
        return try await show(
            ids.map { ($0.rawValue, $0) },
            call,
            page,
            tag: call.input.string("tagged")?.lowercased()
        )
    }

    /// What the viewer may find in a list of the author's posts; direct ones stand in no list of others.
    private func visibilities(of author: UserID, to viewer: UserID?) async throws -> [Int16] {
        let open: [Visibility] = [.public, .unlisted]
        guard let viewer else { return open.map(\.code) }
        if viewer == author { return Visibility.allCases.map(\.code) }
        let follows = try await directory.graph.followed(by: viewer, among: [author])
        return (follows.contains(author) ? open + [.private] : open).map(\.code)
    }

    private var favourites: Endpoint {
        Endpoint(
            .get,
            "/api/v1/favourites",
            operationID: "getFavourites",
            summary: "The posts that one likes, the latest like first.",
            tag: "statuses",
            access: .user(["read:favourites"]),
            inputs: Parameter.paging,
            output: .list("Status")
        ) { call in
            let page = try PageRequest(call.input)
            let entries = try await directory.favourites.favourites(
                of: call.user(),
                lower: page.lower,
                upper: page.upper,
                ascending: page.isAscending,
                limit: page.limit
            ).newestFirst
            return try await show(entries.map { ($0.cursor, $0.value) }, call, page)
        }
    }

    private var bookmarks: Endpoint {
        Endpoint(
            .get,
            "/api/v1/bookmarks",
            operationID: "getBookmarks",
            summary: "The posts that one has bookmarked, the latest first.",
            tag: "statuses",
            access: .user(["read:bookmarks"]),
            inputs: Parameter.paging,
            output: .list("Status")
        ) { call in
            let page = try PageRequest(call.input)
            let entries = try await directory.bookmarks.bookmarks(
                of: call.user(),
                lower: page.lower,
                upper: page.upper,
                ascending: page.isAscending,
                limit: page.limit
            ).newestFirst
            return try await show(entries.map { ($0.cursor, $0.value) }, call, page)
        }
    }

    /// Hydrates a page; its links follow the list itself, whatever of it is shown.
    private func show(
        _ entries: [(cursor: Int64, post: PostID)],
        _ call: Call,
        _ page: PageRequest,
        tag: String? = nil
    ) async throws -> Response {
        let found = try await directory.statuses(entries.map(\.post), viewer: call.viewer)
        var shown = entries.compactMap { found[$0.post] }
        if let tag { shown.removeAll { !$0.tags.contains { $0.name == tag } } }
        var response = Response.json(shown)
        response.link(
            call,
            first: entries.first?.cursor,
            last: entries.last?.cursor,
            isFull: entries.count == page.limit
        )
        return response
    }
}
