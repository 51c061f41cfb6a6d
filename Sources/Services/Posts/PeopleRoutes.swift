import Contracts
import HTTP
import Postgres
import ServiceKit
import Sharding

/// Posts by what their authors say of them: where they are from, and who is on them.
struct PeopleRoutes: Sendable {
    let directory: PostDirectory
    let topics: TopicStore

    var endpoints: [Endpoint] { [place, tagged, untag] }

    private var place: Endpoint {
        Endpoint(
            .get,
            "/api/tessera/v1/timelines/place/:place",
            operationID: "getPlaceTimeline",
            summary: "Public posts from a place, newest first.",
            tag: "timelines",
            access: .optionalUser,
            inputs: Parameter.paging,
            output: .list("Status")
        ) { call in
            guard let place = Topic(place: call.request.parameters["place"] ?? "") else {
                throw ServiceError.notFound
            }
            return try await answer(call, place, by: .discovery)
        }
    }

    private var tagged: Endpoint {
        Endpoint(
            .get,
            "/api/tessera/v1/accounts/:id/tagged",
            operationID: "getTaggedStatuses",
            summary: "Posts on whose photos a user is, as their authors say; newest first.",
            tag: "accounts",
            access: .optionalUser,
            inputs: Parameter.paging,
            output: .list("Status")
        ) { call in
            let user: UserID = try call.id()
            let rules = try await directory.sight.rules(of: call.viewer, about: [user])
            guard let account = try await directory.accounts.account(user),
                rules.allowAccount(user, account.state)
            else { throw ServiceError.notFound }
            guard rules.allowPosts(of: user, account.state) else { return .emptyList }
            return try await answer(call, Topic(person: user), by: .profile)
        }
    }

    private func answer(
        _ call: Call,
        _ topic: Topic,
        by way: VisibilityRules.Way
    ) async throws -> Response {
        try await directory.timeline(call, by: way) { page in
            try await topics.posts(
                about: [topic],
                lower: page.lower,
                upper: page.upper,
                ascending: page.isAscending,
                limit: page.limit
            )
        }
    }

    private var untag: Endpoint {
        Endpoint(
            .post,
            "/api/tessera/v1/statuses/:id/untag",
            operationID: "untagStatus",
            summary: "Takes oneself off a post, for good: its author cannot undo it.",
            tag: "statuses",
            access: .user(["write:accounts"]),
            output: .entity("Status")
        ) { call in
            let user = try call.user()
            guard let post = try await directory.original(call.id(), viewer: user)?.post else {
                throw ServiceError.notFound
            }
            if post.people.contains(where: { $0.user == user }) {
                let trace = call.request.traceparent
                try await topics.untag(user, from: post, trace: trace)
                await directory.cache.forget([post.id])
            }
            guard let entity = try await directory.status(post.id, viewer: user) else {
                throw ServiceError.notFound
            }
            return .json(entity)
        }
    }
}
