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
        async let found = directory.accounts.account(author)
        let rules = try await rules(for: author, call.viewer)
        guard let account = try await found, rules.rules.allowAccount(author, account.state) else {
            throw ServiceError.notFound
        }
        let filter = PostStore.AuthorFilter(
            onlyMedia: call.input.bool("only_media") ?? false,
            excludeReplies: call.input.bool("exclude_replies") ?? false,
            onlyPinned: call.input.bool("pinned") ?? false,
            audiences: rules.rules.audiences(of: author, account.state)
        )
        let tag = call.input.string("tagged")?.lowercased()
        let hydrate = Hydration(
            directory: directory,
            rules: rules,
            way: .profile,
            marks: ViewerMarks()
        )
        let page = try await FilledPage<StatusEntity>(
            request,
            cursor: { (post: PostID) in post.rawValue },
            read: { rest in
                guard !filter.audiences.isEmpty else { return [] }
                return try await directory.store.ids(
                    of: author,
                    filter: filter,
                    lower: rest.lower,
                    upper: rest.upper,
                    ascending: rest.isAscending,
                    limit: rest.limit
                ).sorted(by: >)
            },
            show: { ids in
                let shown = try await hydrate(ids.map { PostReference(id: $0, author: author) })
                return ids.compactMap { id in
                    guard let status = shown[id], status.has(tag: tag) else { return nil }
                    return (id, status)
                }
            }
        )
        return PageContents(
            showing: page.shown,
            first: page.first,
            last: page.last,
            isFull: page.isFull
        )
    }

    private func rules(for author: UserID, _ viewer: UserID?) async throws -> PostRules {
        guard let viewer, viewer != author else {
            return PostRules(rules: VisibilityRules(viewer: viewer, recent: directory.recent))
        }
        async let closeFriendOf = directory.closeFriendships(of: viewer, among: [author])
        var standing = try await directory.graph.standing(of: viewer, to: [author])
        standing.closeFriendOf = try await closeFriendOf
        return PostRules(
            rules: VisibilityRules(viewer: viewer, standing: standing, recent: directory.recent)
        )
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
            let user = try call.user()
            return try await answer(call) { page in
                try await directory.favourites.favourites(
                    of: user,
                    lower: page.lower,
                    upper: page.upper,
                    ascending: page.isAscending,
                    limit: page.limit
                ).newestFirst
            }
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
            let user = try call.user()
            return try await answer(call) { page in
                try await directory.bookmarks.bookmarks(
                    of: user,
                    lower: page.lower,
                    upper: page.upper,
                    ascending: page.isAscending,
                    limit: page.limit
                ).newestFirst
            }
        }
    }

    /// A page of those posts of a list that may be seen.
    private func answer(
        _ call: Call,
        read: (PageRequest) async throws -> [ListEntry<PostID>]
    ) async throws -> Response {
        let page = try await FilledPage<StatusEntity>(
            try PageRequest(call.input),
            cursor: { (entry: ListEntry<PostID>) in entry.cursor },
            read: read,
            show: { entries in
                let found = try await directory.statuses(entries.map(\.value), viewer: call.viewer)
                return entries.compactMap { entry in found[entry.value].map { (entry, $0) } }
            }
        )
        var response = Response.json(page.shown)
        response.link(call, first: page.first, last: page.last, isFull: page.isFull)
        return response
    }
}

extension StatusEntity {
    /// Whether it has the hashtag, or none is asked for.
    fileprivate func has(tag: String?) -> Bool {
        tag.map { tag in tags.contains { $0.name == tag } } ?? true
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
