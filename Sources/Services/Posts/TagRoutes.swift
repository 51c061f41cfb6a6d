import Contracts
import HTTP
import Postgres
import ServiceKit
import Sharding

/// Hashtags by themselves: look at one, follow it, list what is followed.
struct TagRoutes: Sendable {
    /// How many hashtags a user may follow.
    static let followedLimit = 200

    /// How many of them, the latest, are merged into a home timeline when it is read.
    static let mergedLimit = 20

    let directory: PostDirectory
    let topics: TopicStore

    var endpoints: [Endpoint] {
        [
            one,
            change(
                "follow",
                "Follows a hashtag: public posts with it come into one's home timeline."
            ) {
                guard try await topics.follow($0, by: $1, atMost: Self.followedLimit) else {
                    throw ServiceError.invalid(
                        "No more than \(Self.followedLimit) hashtags can be followed"
                    )
                }
                return true
            },
            change("unfollow", "No longer follows a hashtag.") {
                try await topics.unfollow($0, by: $1)
                return false
            },
            followed,
        ]
    }

    private var one: Endpoint {
        Endpoint(
            .get,
            "/api/v1/tags/:id",
            operationID: "getTag",
            summary: "A hashtag, and whether it is followed.",
            tag: "tags",
            access: .optionalUser,
            output: .entity("Tag")
        ) { call in
            let tag = try Self.tag(call)
            guard let viewer = call.viewer else { return .json(entity(tag.name, following: nil)) }
            let following = try await topics.isFollowing(tag, viewer)
            return .json(entity(tag.name, following: following))
        }
    }

    private func change(
        _ verb: String,
        _ summary: String,
        _ body: @escaping @Sendable (Topic, UserID) async throws -> Bool
    ) -> Endpoint {
        Endpoint(
            .post,
            "/api/v1/tags/:id/\(verb)",
            operationID: "\(verb)Tag",
            summary: summary,
            tag: "tags",
            access: .user(["write:follows"]),
            output: .entity("Tag")
        ) { call in
            let tag = try Self.tag(call)
            return .json(entity(tag.name, following: try await body(tag, call.user())))
        }
    }

    private var followed: Endpoint {
        Endpoint(
            .get,
            "/api/v1/followed_tags",
            operationID: "getFollowedTags",
            summary: "The hashtags that one follows, the latest first.",
            tag: "tags",
            access: .user(["read:follows"]),
            inputs: Parameter.paging,
            output: .list("Tag")
        ) { call in
            let page = try PageRequest(call.input, defaultLimit: 100, mostLimit: 200)
            let rows = try await topics.followed(
                by: call.user(),
                lower: page.lower,
                upper: page.upper,
                ascending: page.isAscending,
                limit: page.limit
            ).sorted { $0.cursor > $1.cursor }
            var response = Response.json(rows.map { entity($0.name, following: true) })
            response.link(
                call,
                first: rows.first?.cursor,
                last: rows.last?.cursor,
                isFull: rows.count == page.limit
            )
            return response
        }
    }

    private static func tag(_ call: Call) throws(ServiceError) -> Topic {
        guard let tag = Topic(tag: call.request.parameters["id"] ?? "") else { throw .notFound }
        return tag
    }

    private func entity(_ name: String, following: Bool?) -> TagEntity {
        TagEntity(name: name, url: directory.rendering.tagURL(name), following: following)
    }
}
