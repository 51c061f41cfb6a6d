import Contracts
import HTTP
import Postgres
import ServiceKit
import Sharding

/// Passing posts on, and who does.
struct ReblogRoutes: Sendable {
    let reblog: ReblogPost

    private var directory: PostDirectory { reblog.directory }

    var endpoints: [Endpoint] { [create, undo, rebloggedBy] }

    private var create: Endpoint {
        Endpoint(
            .post,
            "/api/v1/statuses/:id/reblog",
            operationID: "reblogStatus",
            summary: "Passes a post on to one's followers; answers the post that does.",
            tag: "statuses",
            access: .user(["write:statuses"]),
            inputs: [
                Parameter(
                    "visibility",
                    .oneOf(["public", "unlisted", "private"]),
                    "Who may see that it is passed on."
                )
            ],
            output: .entity("Status")
        ) { call in
            let user = try call.user()
            let post = try await original(call)
            let id = try await reblog(call, post, by: user)
            return try await status(id, viewer: user)
        }
    }

    private var undo: Endpoint {
        Endpoint(
            .post,
            "/api/v1/statuses/:id/unreblog",
            operationID: "unreblogStatus",
            summary: "No longer passes a post on; answers that post.",
            tag: "statuses",
            access: .user(["write:statuses"]),
            output: .entity("Status")
        ) { call in
            let user = try call.user()
            var id: PostID = try call.id()
            // Also of what may no longer be seen: it is one's own post that goes.
            id = try await directory.fragments([id])[id]?.post.reblogOf?.id ?? id
            try await reblog.undo(call, id, by: user)
            return try await status(id, viewer: user)
        }
    }

    private var rebloggedBy: Endpoint {
        Endpoint(
            .get,
            "/api/v1/statuses/:id/reblogged_by",
            operationID: "getStatusRebloggedBy",
            summary: "Who passed a post on, the latest first.",
            tag: "statuses",
            access: .optionalUser,
            inputs: Parameter.paging,
            output: .list("Account")
        ) { call in
            let post = try await original(call)
            return try await directory.people(call) { page in
                try await reblog.reblogs.rebloggers(
                    of: post.id,
                    lower: page.lower,
                    upper: page.upper,
                    ascending: page.isAscending,
                    limit: page.limit
                )
            }
        }
    }

    private func original(_ call: Call) async throws -> Post {
        guard let found = try await directory.original(call.id(), viewer: call.viewer) else {
            throw ServiceError.notFound
        }
        return found.post
    }

    private func status(_ id: PostID, viewer: UserID) async throws -> Response {
        guard let entity = try await directory.status(id, viewer: viewer) else {
            throw ServiceError.notFound
        }
        return .json(entity)
    }
}

extension PostDirectory {
    /// Answers a page of people who did something to a post, as far as they may be seen.
    func people(
        _ call: Call,
        read: (PageRequest) async throws -> [ListEntry<UserID>]
    ) async throws -> Response {
        let page = try await FilledPage<AccountEntity>(
            try PageRequest(call.input, defaultLimit: 40, mostLimit: 80),
            cursor: { (entry: ListEntry<UserID>) in entry.cursor },
            read: { try await read($0).newestFirst },
            show: { entries in
                let found = try await sight.accounts(entries.map(\.value), viewer: call.viewer)
                return entries.compactMap { entry in found[entry.value].map { (entry, $0) } }
            }
        )
        var response = Response.json(page.shown)
        response.link(call, first: page.first, last: page.last, isFull: page.isFull)
        return response
    }
}
