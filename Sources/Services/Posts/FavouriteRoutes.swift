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
            action(
                "favourite",
                "Likes a post.",
                scope: "write:favourites",
                sets: MarkChange(isLiked: true)
            ) { try await setLiked(true, $0, $1, by: $2) },
            action(
                "unfavourite",
                "Takes a like back.",
                scope: "write:favourites",
                sets: MarkChange(isLiked: false)
            ) { try await setLiked(false, $0, $1, by: $2) },
            action(
                "bookmark",
                "Keeps a post in a list of one's own.",
                scope: "write:bookmarks",
                sets: MarkChange(isBookmarked: true)
            ) {
                try await directory.bookmarks.add($1.post.id, by: $2)
                return $1
            },
            action(
                "unbookmark",
                "Takes a post off that list.",
                scope: "write:bookmarks",
                sets: MarkChange(isBookmarked: false)
            ) {
                try await directory.bookmarks.remove($1.post.id, by: $2)
                return $1
            },
            action("pin", "Shows a post of one's own first.", scope: "write:accounts") {
                try await pin($1, by: $2)
            },
            action("unpin", "No longer shows it first.", scope: "write:accounts") {
                try await setPinned(false, $1, by: $2)
            },
            favouritedBy,
        ]
    }

    /// `POST /api/v1/statuses/:id/NAME`, which answers the post as it then is.
    ///
    /// Each of these is the same when it is repeated, so that no key needs to be kept for it. The answer is made of
    /// what was read before, of what is read beside the change, and of what `body` knows to have changed.
    private func action(
        _ name: String,
        _ summary: String,
        scope: String,
        sets change: MarkChange = MarkChange(),
        _ body: @escaping @Sendable (Call, PostFragment, UserID) async throws -> PostFragment
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
            // Only what may be seen may be marked.
            guard let seen = try await directory.seenOriginal(call.id(), viewer: user) else {
                throw ServiceError.notFound
            }
            async let read = directory.marks.mark(of: user, on: seen.post.id, after: change)
            var changed = seen
            changed.fragment = try await body(call, seen.fragment, user)
            let mark = try await read
            return .json(try await directory.entity(of: changed, for: user, mark))
        }
    }

    private func setLiked(
        _ liked: Bool,
        _ call: Call,
        _ fragment: PostFragment,
        by user: UserID
    ) async throws -> PostFragment {
        let outcome = try await directory.favourites.set(
            liked: liked,
            fragment.post.id,
            by: user,
            trace: call.request.traceparent
        )
        guard outcome != .gone else { throw ServiceError.notFound }
        guard outcome == .changed else { return fragment }
        await refresh.changed(fragment.post.id)
        var changed = fragment
        changed.counts.favourites = max(0, fragment.counts.favourites + (liked ? 1 : -1))
        return changed
    }

    private func pin(_ fragment: PostFragment, by user: UserID) async throws -> PostFragment {
        guard try await directory.store.pinnedCount(of: user) < Self.pinnedLimit else {
            throw ServiceError.invalid("You have already pinned the maximum number of posts")
        }
        return try await setPinned(true, fragment, by: user)
    }

    private func setPinned(
        _ pinned: Bool,
        _ fragment: PostFragment,
        by user: UserID
    ) async throws -> PostFragment {
        let id = fragment.post.id
        let statement = PostStore.pin(id, by: user, pinned)
        let rows = try await directory.store.database.write(on: id, [statement])
        guard rows.first?.isEmpty == false else {
            throw ServiceError.invalid("Someone else's post cannot be pinned")
        }
        await directory.cache.forget([id])
        var changed = fragment
        changed.post.isPinned = pinned
        return changed
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
            guard let post = try await directory.original(call.id(), viewer: call.viewer)?.post
            else { throw ServiceError.notFound }
            let rules = PostRules(rules: VisibilityRules(viewer: call.viewer))
            guard rules.showsLikes(of: post) else { return .emptyList }
            return try await directory.people(call) { page in
                try await directory.favourites.likers(
                    of: post.id,
                    lower: page.lower,
                    upper: page.upper,
                    ascending: page.isAscending,
                    limit: page.limit
                )
            }
        }
    }
}

extension [ListEntry<UserID>] {
    var newestFirst: Self { sorted { $0.cursor > $1.cursor } }
}

extension [ListEntry<PostID>] {
    var newestFirst: Self { sorted { $0.cursor > $1.cursor } }
}
