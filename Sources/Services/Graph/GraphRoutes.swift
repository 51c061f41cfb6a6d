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
            change(
                "follow",
                scope: "write:follows",
                "Follow a user, or ask to",
                inputs: [
                    Parameter("reblogs", .boolean, "Whether to see what the user passes on."),
                    Parameter("notify", .boolean, "Whether to be told of each post."),
                ]
            ) { call, target, viewer in
                try await follow(
                    target,
                    by: viewer,
                    wanting: FollowWishes(
                        reblogs: call.input.bool("reblogs"),
                        notify: call.input.bool("notify")
                    ),
                    traceparent: call.request.traceparent
                )
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
            change(
                "mute",
                scope: "write:mutes",
                "Hide a user's posts",
                inputs: [
                    Parameter("notifications", .boolean, "Whether to hide notifications, too."),
                    Parameter("duration", .integer, "For how many seconds; 0 for good."),
                ]
            ) { call, target, viewer in
                try await requireAccount(target)
                let seconds = min(call.input.int("duration") ?? 0, Self.longestMute)
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
            change("remove_from_followers", scope: "write:follows", "Send a follower away") {
                call,
                target,
                viewer in
                try await decide(.remove, about: target, by: viewer, call)
            },
            change(
                "note",
                scope: "write:accounts",
                "Note something about a user for oneself",
                inputs: [Parameter("comment", .string, "The note; without it there is none.")]
            ) { call, target, viewer in
                try await requireAccount(target)
                let comment = call.input.string("comment") ?? ""
                guard comment.count <= Self.noteLimit, !comment.utf8.contains(0) else {
                    throw ServiceError.invalid(
                        "Comment is too long (maximum is \(Self.noteLimit) characters)"
                    )
                }
                return try await store.note(comment, about: target, by: viewer)
            },
        ]
    }

    /// Longer ones are as good as for ever: a hundred years.
    private static let longestMute = 100 * 365 * 86_400
    private static let noteLimit = 2_000

    private func decide(
        _ answer: FollowAnswer,
        about follower: UserID,
        by viewer: UserID,
        _ call: Call
    ) async throws -> RelationshipEntity {
        let trace = call.request.traceparent
        if let decided = try await store.decide(
            about: follower,
            by: viewer,
            answer,
            traceparent: trace
        ) {
            return decided
        }
        guard answer == .remove,
            let known = try await store.relationships(of: viewer, to: [follower]).first
        else { throw ServiceError.notFound }
        return known
    }

    /// Requests to follow, and the lists that nobody else knows of.
    var requestEndpoints: [Endpoint] {
        [
            ownList(
                "follow_requests",
                .requests,
                scope: "read:follows",
                "Who asks to follow you",
                operationID: "listFollowRequests"
            ),
            answer("authorize", .accept, "Let somebody follow you who has asked"),
            answer("reject", .reject, "Refuse somebody who has asked to follow you"),
            ownList(
                "close_friends",
                .closeFriends,
                in: "/api/tessera/v1",
                scope: "read:follows",
                "Whom you count among your close friends",
                operationID: "listCloseFriends"
            ),
            listing(.put, "close_friends", "addCloseFriend", "Count a user among close friends") {
                try await store.add($0, to: .closeFriends, of: $1)
            },
            listing(.delete, "close_friends", "removeCloseFriend", "Count a user no longer") {
                try await store.remove($0, from: .closeFriends, of: $1)
            },
            ownList(
                "restricted",
                .restricted,
                in: "/api/tessera/v1",
                scope: "read:blocks",
                "Whose comments on your posts wait for approval",
                operationID: "listRestricted"
            ),
            listing(.put, "restricted", "restrictAccount", "Let a user's comments wait") {
                try await store.add($0, to: .restricted, of: $1)
            },
            listing(.delete, "restricted", "unrestrictAccount", "Let a user comment freely") {
                try await store.remove($0, from: .restricted, of: $1)
            },
        ]
    }

    private func answer(_ verb: String, _ answer: FollowAnswer, _ summary: String) -> Endpoint {
        Endpoint(
            .post,
            "/api/v1/follow_requests/:id/\(verb)",
            operationID: "\(verb)FollowRequest",
            summary: summary,
            tag: "accounts",
            access: .user(["write:follows"]),
            output: .entity("Relationship")
        ) { call in
            .json(try await decide(answer, about: call.id(), by: call.user(), call))
        }
    }

    /// An endpoint that puts a user on a list of one's own, or takes them off.
    private func listing(
        _ method: Method,
        _ name: String,
        _ operationID: String,
        _ summary: String,
        _ body: @escaping @Sendable (UserID, UserID) async throws -> RelationshipEntity
    ) -> Endpoint {
        Endpoint(
            method,
            "/api/tessera/v1/\(name)/:id",
            operationID: operationID,
            summary: summary,
            tag: "accounts",
            access: .user([name == "restricted" ? "write:blocks" : "write:follows"]),
            output: .entity("Relationship")
        ) { call in
            let viewer = try call.user()
            let target: UserID = try call.id()
            guard target != viewer else { throw ServiceError.notFound }
            if method == .put { try await requireAccount(target) }
            return .json(try await body(target, viewer))
        }
    }

    /// An endpoint that changes how the viewer stands to a user, and answers with that.
    private func change(
        _ verb: String,
        scope: String,
        _ summary: String,
        inputs: [Parameter] = [],
        _ body: @escaping @Sendable (Call, UserID, UserID) async throws -> RelationshipEntity
    ) -> Endpoint {
        Endpoint(
            .post,
            "/api/v1/accounts/:id/\(verb)",
            operationID: "\(verb)Account",
            summary: summary,
            tag: "accounts",
            access: .user([scope]),
            inputs: inputs,
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
            ownList(
                "blocks",
                .blocks,
                scope: "read:blocks",
                "Whom you block",
                operationID: "listBlocks"
            ),
            ownList(
                "mutes",
                .mutes,
                scope: "read:mutes",
                "Whom you mute",
                operationID: "listMutes"
            ),
            Endpoint(
                .get,
                "/api/v1/accounts/familiar_followers",
                operationID: "getFamiliarFollowers",
                summary: "Who of those you follow follows these users",
                tag: "accounts",
                access: .user(["read:follows"]),
                inputs: [Parameter("id", .strings, "Ids of accounts.")],
                output: .list("FamiliarFollowers"),
                handler: answerFamiliarFollowers
            ),
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
            let rules = try await sight.rules(of: call.viewer, about: [user])
            guard let account = try await accounts.account(user),
                rules.allowAccount(user, account.state)
            else { throw ServiceError.notFound }
            guard rules.allowConnections(of: user, account.state) else { return .emptyList }
            return try await answer(list, of: user, call) { ids in
                try await sight.accounts(ids, viewer: call.viewer)
            }
        }
    }

    /// A list that only its owner sees, and all of it: also those whom the rules would hide.
    private func ownList(
        _ name: String,
        _ list: EdgeList,
        in folder: String = "/api/v1",
        scope: String,
        _ summary: String,
        operationID: String
    ) -> Endpoint {
        Endpoint(
            .get,
            "\(folder)/\(name)",
            operationID: operationID,
            summary: summary,
            tag: "accounts",
            access: .user([scope]),
            inputs: Parameter.paging,
            output: .list("Account")
        ) { call in
            let viewer = try call.user()
            return try await answer(list, of: viewer, call) { ids in
                let rules = try await sight.rules(of: viewer, about: ids)
                return try await accounts.accounts(ids).compactMapValues { account in
                    account.suspended ? nil : account.concealed(by: rules)
                }
            }
        }
    }

    /// A page of accounts, newest edge first; its cursors are ids of edges.
    private func answer(
        _ list: EdgeList,
        of user: UserID,
        _ call: Call,
        show: ([UserID]) async throws -> [UserID: AccountEntity]
    ) async throws -> Response {
        let page = try await FilledPage<AccountEntity>(
            try PageRequest(call.input, defaultLimit: 40, mostLimit: 80),
            cursor: { (edge: EdgeListing) in edge.id },
            read: { rest in
                let edges = try await store.page(
                    of: list,
                    of: user,
                    above: rest.lower,
                    below: rest.upper,
                    ascending: rest.isAscending,
                    limit: rest.limit
                )
                return rest.isAscending ? edges.reversed() : edges
            },
            show: { edges in
                let known = try await show(edges.map(\.user))
                return edges.compactMap { edge in known[edge.user].map { (edge, $0) } }
            }
        )
        var response = Response.json { $0.array(page.shown) }
        response.link(call, first: page.first, last: page.last, isFull: page.isFull)
        return response
    }

    /// For how many users one request may ask whom one knows among their followers, and how many of them it shows.
    private static let familiarTargets = 40
    private static let familiarShown = 10

    private func answerFamiliarFollowers(_ call: Call) async throws -> Response {
        let viewer = try call.user()
        let ids = call.input.strings("id").prefix(Self.familiarTargets).compactMap { UserID($0) }
        let rules = try await sight.rules(of: viewer, about: ids)
        let targets = try await accounts.accounts(ids)
        let open = targets.values.filter { rules.allowConnections(of: $0.id, $0.state) }.map(\.id)
        let found = try await store.familiarFollowers(
            of: open.sorted(),
            for: viewer,
            limit: Self.familiarShown
        )
        let known = try await sight.accounts(Array(Set(found.values.joined())), viewer: viewer)
        return .json { json in
            json.array(
                ids.filter { targets[$0].map { rules.allowAccount($0.id, $0.state) } ?? false }
                    .map { id in
                        FamiliarFollowersEntity(
                            id: id,
                            accounts: (found[id] ?? []).compactMap { known[$0] }
                        )
                    }
            )
        }
    }
}
