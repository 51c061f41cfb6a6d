internal import Contracts
import HTTP
internal import JSON
internal import Pages
internal import ServiceKit
internal import Sharding

extension GraphService {
    /// How many relationships one request may ask for.
    private static let relationshipLimit = 200

    var writeEndpoints: [Endpoint] {
        [
            change("follow", scope: "write:follows", "Follow a user") { call, target, viewer in
                try await follow(target, by: viewer, traceparent: call.request.traceparent)
            },
            change("unfollow", scope: "write:follows", "Unfollow a user") { call, target, viewer in
                let trace = call.request.traceparent
                return try await store.unfollow(target, by: viewer, traceparent: trace)
            },
            change("block", scope: "write:blocks", "Block a user") { call, target, viewer in
                try await requireAccount(target)
                let trace = call.request.traceparent
                let parted = try await store.block(target, by: viewer, traceparent: trace)
                await drop?.acted([target.rawValue])
                return parted
            },
            change("unblock", scope: "write:blocks", "Unblock a user") { call, target, viewer in
                let trace = call.request.traceparent
                return try await store.unblock(target, by: viewer, traceparent: trace)
            },
            change("mute", scope: "write:mutes", "Hide a user's posts") { call, target, viewer in
                try await requireAccount(target)
                let seconds = call.input.int("duration") ?? 0
                return try await store.mute(
                    target,
                    by: viewer,
                    notifications: call.input.bool("notifications") ?? true,
                    seconds: seconds > 0 ? seconds : nil
                )
            },
            change("unmute", scope: "write:mutes", "Show a user's posts again") {
                try await store.unmute($1, by: $2)
            },
        ]
    }

    /// An endpoint that changes how the viewer stands to a user, and answers with that.
    private func change(
        _ verb: String,
        scope: String,
        _ summary: String,
        _ body: @escaping @Sendable (Call, UserID, UserID) async throws -> RelationshipEntity
    ) -> Endpoint {
        Endpoint(
            .post,
            "/api/v1/accounts/:id/\(verb)",
            operationID: "\(verb)Account",
            summary: summary,
            tag: "accounts",
            access: .user([scope]),
            output: .entity("Relationship")
        ) { call in
            let viewer = try call.user()
            let target: UserID = try call.id()
            if verb != "follow", target == viewer { throw ServiceError.notFound }
            return .json(try await body(call, target, viewer))
        }
    }

    var listEndpoints: [Endpoint] {
        [
            Endpoint(
                .get,
                "/api/v1/accounts/relationships",
                operationID: "getRelationships",
                summary: "How you stand to users",
                tag: "accounts",
                access: .user(["read:follows"]),
                inputs: [Parameter("id", .strings, required: true, "Ids of accounts.")],
                output: .list("Relationship"),
                handler: answerRelationships
            ),
            accountList("following", .following, "Whom a user follows"),
            accountList("followers", .followers, "Who follows a user"),
            ownList("blocks", .blocks, scope: "read:blocks", "Whom you block"),
            ownList("mutes", .mutes, scope: "read:mutes", "Whom you mute"),
            Endpoint(
                .get,
                "/api/v1/follow_requests",
                operationID: "listFollowRequests",
                summary: "Who asks to follow you: nobody has to ask here",
                tag: "accounts",
                access: .user(["read:follows"]),
                inputs: Parameter.paging,
                output: .list("Account")
            ) { _ in .emptyList },
        ]
    }

    private func answerRelationships(_ call: Call) async throws -> Response {
        let viewer = try call.user()
        let ids = call.input.strings("id").compactMap { UserID($0) }
        guard ids.count <= Self.relationshipLimit else {
            throw ServiceError.invalid("at most \(Self.relationshipLimit) ids")
        }
        guard !ids.isEmpty else { return .emptyList }
        let relationships = try await store.relationships(of: viewer, to: ids)
        return .json { $0.array(relationships) }
    }

    private func accountList(_ name: String, _ list: EdgeList, _ summary: String) -> Endpoint {
        Endpoint(
            .get,
            "/api/v1/accounts/:id/\(name)",
            operationID: "list\(name.prefix(1).uppercased())\(name.dropFirst())",
            summary: summary,
            tag: "accounts",
            access: .optionalUser,
            inputs: Parameter.paging,
            output: .list("Account")
        ) { call in
            let user: UserID = try call.id()
            try await requireAccount(user)
            return try await answer(list, of: user, call)
        }
    }

    private func ownList(
        _ name: String,
        _ list: EdgeList,
        scope: String,
        _ summary: String
    ) -> Endpoint {
        Endpoint(
            .get,
            "/api/v1/\(name)",
            operationID: "list\(name.prefix(1).uppercased())\(name.dropFirst())",
            summary: summary,
            tag: "accounts",
            access: .user([scope]),
            inputs: Parameter.paging,
            output: .list("Account")
        ) { call in
            try await answer(list, of: try call.user(), call)
        }
    }

    /// A page of accounts, newest edge first; its cursors are ids of edges.
    private func answer(_ list: EdgeList, of user: UserID, _ call: Call) async throws -> Response {
        let page = try PageRequest(call.input, defaultLimit: 40, mostLimit: 80)
        var edges = try await store.page(
            of: list,
            of: user,
            above: page.lower,
            below: page.upper,
            ascending: page.isAscending,
            limit: page.limit
        )
        if page.isAscending { edges.reverse() }
        let known = try await accounts.accounts(edges.map(\.user))
        var response = Response.json { $0.array(edges.compactMap { known[$0.user] }) }
        response.link(
            call,
            first: edges.first?.id,
            last: edges.last?.id,
            isFull: edges.count == page.limit
        )
        return response
    }
}
