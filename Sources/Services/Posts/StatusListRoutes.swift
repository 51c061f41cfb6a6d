import Contracts
import HTTP
import Pages
import Postgres
import ServiceKit
import Sharding

/// Lists of posts: a user's own page, one's likes, one's bookmarks.
struct StatusListRoutes: Sendable {
    let directory: PostDirectory
    let serving: PageServing

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
        let request = try PageRequest(call.input)
        // A stranger chooses the tag: there would be no end of pages.
        let isKept = request.isFirst && call.input.string("tagged") == nil
        let key = isKept ? PageKey.statuses(author, call) : nil
        return try await serving.answer(call, key, limit: request.limit) {
            try await page(of: author, request, call)
        }
    }

    private func page(
        of author: UserID,
        _ request: PageRequest,
        _ call: Call
    ) async throws -> PageContents {
        async let account = directory.accounts.account(author)
        let rules = try await rules(for: author, call.viewer)
        guard try await account != nil else { throw ServiceError.notFound }
        let filter = PostStore.AuthorFilter(
            onlyMedia: call.input.bool("only_media") ?? false,
            excludeReplies: call.input.bool("exclude_replies") ?? false,
            onlyPinned: call.input.bool("pinned") ?? false,
            visibilities: visibilities(of: author, rules)
        )
        let ids = try await directory.store.ids(
            of: author,
            filter: filter,
            lower: request.lower,
            upper: request.upper,
            ascending: request.isAscending,
            limit: request.limit
        ).sorted(by: >)
        let hydrate = Hydration(directory: directory, rules: rules, marks: ViewerMarks())
        let found = try await hydrate(ids.map { PostReference(id: $0, author: author) })
        var shown = ids.compactMap { found[$0] }
        if let tag = call.input.string("tagged")?.lowercased() {
            shown.removeAll { !$0.tags.contains { $0.name == tag } }
        }
        return PageContents(
            showing: shown,
            first: ids.first?.rawValue,
            last: ids.last?.rawValue,
            isFull: ids.count == request.limit
        )
    }

    private func rules(for author: UserID, _ viewer: UserID?) async throws -> PostRules {
        var standing = ViewerStanding()
        if let viewer, viewer != author {
            standing = try await directory.graph.standing(of: viewer, to: [author])
        }
        return PostRules(viewer: viewer, standing: standing, log: directory.pages?.log)
    }

    /// What the viewer may find in a list of the author's posts; direct ones stand in no list of others.
    private func visibilities(of author: UserID, _ rules: PostRules) -> [Int16] {
        let open: [Visibility] = [.public, .unlisted]
        if rules.viewer == author { return Visibility.allCases.map(\.code) }
        let follows = rules.standing.followed.contains(author)
        return (follows ? open + [.private] : open).map(\.code)
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
        _ page: PageRequest
    ) async throws -> Response {
        let found = try await directory.statuses(entries.map(\.post), viewer: call.viewer)
        var response = Response.json(entries.compactMap { found[$0.post] })
        response.link(
            call,
            first: entries.first?.cursor,
            last: entries.last?.cursor,
            isFull: entries.count == page.limit
        )
        return response
    }
}

extension PageKey {
    /// Of one of the author's lists, which what is asked for beside the page tells apart.
    fileprivate static func statuses(_ author: UserID, _ call: Call) -> PageKey {
        let filters = ["only_media", "exclude_replies", "exclude_reblogs", "pinned"]
        let list = filters.map { call.input.bool($0) == true ? "1" : "0" }
        return .statuses(
            author: author.rawValue,
            viewer: call.viewer?.rawValue,
            list: list.joined()
        )
    }
}
