import Contracts
import Database
import HTTP
import Postgres
import ServiceKit
import Sharding

/// Likes, bookmarks and pins of one post, and who likes it.
struct FavouriteRoutes: Sendable {
    /// How many posts a user may pin.
    static let pinnedLimit = 5

    let directory: PostDirectory
    let refresh: CountRefresh

    var endpoints: [Endpoint] {
        [
            action("favourite", "Likes a post.", scope: "write:favourites") { call, id, user in
                let trace = call.request.traceparent
                if try await directory.favourites.like(id, by: user, trace: trace) {
                    await refresh.changed(id)
                }
            },
            action("unfavourite", "Takes a like back.", scope: "write:favourites") {
                call,
                id,
                user in
                let trace = call.request.traceparent
                if try await directory.favourites.unlike(id, by: user, trace: trace) {
                    await refresh.changed(id)
                }
            },
            action("bookmark", "Keeps a post in a list of one's own.", scope: "write:bookmarks") {
                try await directory.bookmarks.add($1, by: $2)
            },
            action("unbookmark", "Takes a post off that list.", scope: "write:bookmarks") {
                try await directory.bookmarks.remove($1, by: $2)
            },
            action("pin", "Shows a post of one's own first.", scope: "write:accounts") {
                try await pin($1, by: $2)
            },
            action("unpin", "No longer shows it first.", scope: "write:accounts") {
                try await setPinned($1, by: $2, false)
            },
            favouritedBy,
        ] + rebloggedBy
    }

    /// `POST /api/v1/statuses/:id/NAME`, which answers the post as it then is.
    ///
    /// Each of these is the same when it is repeated, so that no key needs to be kept for it.
    private func action(
        _ name: String,
        _ summary: String,
        scope: String,
        _ body: @escaping @Sendable (Call, PostID, UserID) async throws -> Void
    ) -> Endpoint {
        Endpoint(
            .post,
            "/api/v1/statuses/:id/\(name)",
            operationID: "\(name)Status",
            summary: summary,
            tag: "statuses",
            access: .user([scope]),
            output: .entity("Status")
        ) { call in
            let user = try call.user()
            let id: PostID = try call.id()
            // Only what may be seen may be marked.
            guard try await directory.fragment(id, viewer: user) != nil else {
                throw ServiceError.notFound
            }
            try await body(call, id, user)
            guard let entity = try await directory.status(id, viewer: user) else {
                throw ServiceError.notFound
            }
            return .json(entity)
        }
    }

    private func pin(_ id: PostID, by user: UserID) async throws {
        guard try await directory.store.pinnedCount(of: user) < Self.pinnedLimit else {
            throw ServiceError.invalid("You have already pinned the maximum number of posts")
        }
        try await setPinned(id, by: user, true)
    }

    private func setPinned(_ id: PostID, by user: UserID, _ pinned: Bool) async throws {
        let statement = PostStore.pin(id, by: user, pinned)
        let rows = try await directory.store.database.write(on: id, [statement])
        guard rows.first?.isEmpty == false else {
            throw ServiceError.invalid("Someone else's post cannot be pinned")
        }
        await directory.cache.forget([id])
    }

    private var favouritedBy: Endpoint {
        Endpoint(
            .get,
            "/api/v1/statuses/:id/favourited_by",
            operationID: "getStatusFavouritedBy",
            summary: "Who likes a post, the latest first.",
            tag: "statuses",
            access: .optionalUser,
            inputs: Parameter.paging,
            output: .list("Account")
        ) { call in
            let id: PostID = try call.id()
            guard let post = try await directory.fragment(id, viewer: call.viewer)?.post else {
                throw ServiceError.notFound
            }
            let rules = PostRules(rules: VisibilityRules(viewer: call.viewer))
            guard rules.showsLikes(of: post) else { return .emptyList }
            let page = try await FilledPage<AccountEntity>(
                try PageRequest(call.input, defaultLimit: 40, mostLimit: 80),
                cursor: { (entry: ListEntry<UserID>) in entry.cursor },
                read: { rest in
                    try await directory.favourites.likers(
                        of: id,
                        lower: rest.lower,
                        upper: rest.upper,
                        ascending: rest.isAscending,
                        limit: rest.limit
                    ).newestFirst
                },
                show: { entries in
                    let found = try await directory.sight.accounts(
                        entries.map(\.value),
                        viewer: call.viewer
                    )
                    return entries.compactMap { entry in found[entry.value].map { (entry, $0) } }
                }
            )
            var response = Response.json(page.shown)
            response.link(call, first: page.first, last: page.last, isFull: page.isFull)
            return response
        }
    }

    /// Nothing is passed on yet, so nobody has done it.
    private var rebloggedBy: [Endpoint] {
        [
            Endpoint(
                .get,
                "/api/v1/statuses/:id/reblogged_by",
                operationID: "getStatusRebloggedBy",
                summary: "Who passed a post on; nobody can.",
                tag: "statuses",
                access: .optionalUser,
                output: .list("Account")
            ) { call in
                guard try await directory.fragment(call.id(), viewer: call.viewer) != nil else {
                    throw ServiceError.notFound
                }
                return .emptyList
            }
        ]
    }
}

extension [ListEntry<UserID>] {
    var newestFirst: Self { sorted { $0.cursor > $1.cursor } }
}

extension [ListEntry<PostID>] {
    var newestFirst: Self { sorted { $0.cursor > $1.cursor } }
}
