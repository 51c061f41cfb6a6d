import Contracts
import HTTP
import Postgres
import ServiceKit
import Sharding

/// Timelines of what everybody may see: all public posts, and those with a hashtag.
struct TimelineRoutes: Sendable {
    /// How many hashtags one question may name beside the first, of each kind.
    static let tagLimit = 4

    let directory: PostDirectory
    let topics: TopicStore

    var endpoints: [Endpoint] { [everybody, tagged] }

    private static let filters = [
        Parameter("local", .boolean, "Only posts of this server; there are no others."),
        Parameter("remote", .boolean, "Only posts of other servers; there are none."),
        Parameter("only_media", .boolean, "Only posts with photos."),
    ]

    private var everybody: Endpoint {
        Endpoint(
            .get,
            "/api/v1/timelines/public",
            operationID: "getPublicTimeline",
            summary: "Public posts of everybody, newest first; no comments.",
            tag: "timelines",
            access: .optionalUser,
            inputs: Parameter.paging + Self.filters,
            output: .list("Status")
        ) { call in
            if call.input.bool("remote") == true { return .emptyList }
            let onlyMedia = call.input.bool("only_media") ?? false
            return try await directory.timeline(call, by: .discovery) { page in
                try await directory.store.publicPosts(
                    lower: page.lower,
                    upper: page.upper,
                    ascending: page.isAscending,
                    onlyMedia: onlyMedia,
                    limit: page.limit
                )
            }
        }
    }

    private var tagged: Endpoint {
        Endpoint(
            .get,
            "/api/v1/timelines/tag/:tag",
            operationID: "getTagTimeline",
            summary: "Public posts with a hashtag, newest first.",
            tag: "timelines",
            access: .optionalUser,
            inputs: Parameter.paging + Self.filters + [
                Parameter("any", .strings, "Posts with one of these count as well."),
                Parameter("all", .strings, "Only posts with each of these, too."),
                Parameter("none", .strings, "Only posts with none of these."),
            ],
            output: .list("Status")
        ) { try await posts(withTag: $0) }
    }

    private func posts(withTag call: Call) async throws -> Response {
        guard let tag = Topic(tag: call.request.parameters["tag"] ?? "") else {
            throw ServiceError.notFound
        }
        let any = [tag] + Self.tags("any", of: call.input)
        let all = Set(Self.tags("all", of: call.input))
        let none = Set(Self.tags("none", of: call.input))
        if call.input.bool("remote") == true { return .emptyList }
        let onlyMedia = call.input.bool("only_media") ?? false
        let accepts = { (status: StatusEntity) in
            if onlyMedia, status.attachments.isEmpty { return false }
            guard !all.isEmpty || !none.isEmpty else { return true }
            let tags = Set(status.tags.compactMap { Topic(tag: $0.name) })
            return all.isSubset(of: tags) && none.isDisjoint(with: tags)
        }
        return try await directory.timeline(call, by: .discovery, accepts: accepts) { page in
            try await topics.posts(
                about: any,
                lower: page.lower,
                upper: page.upper,
                ascending: page.isAscending,
                limit: page.limit
            )
        }
    }

    private static func tags(_ name: String, of input: Input) -> [Topic] {
        input.strings(name).prefix(tagLimit).compactMap { Topic(tag: $0) }
    }
}

extension PostDirectory {
    /// Answers a page of a timeline whose authors are anybody, as far as they may be seen.
    ///
    /// `source` gives posts of the part that it is asked for, in any order and perhaps more than enough.
    func timeline(
        _ call: Call,
        by way: VisibilityRules.Way,
        accepts: (StatusEntity) -> Bool = { _ in true },
        _ source: (PageRequest) async throws -> [PostReference]
    ) async throws -> Response {
        let page = try await FilledPage<StatusEntity>(
            try PageRequest(call.input),
            cursor: { (post: PostID) in post.rawValue },
            read: { rest in
                let newestFirst = Set(try await source(rest).map(\.id)).sorted(by: >)
                return Array(
                    rest.isAscending
                        ? newestFirst.suffix(rest.limit) : newestFirst.prefix(rest.limit)
                )
            },
            show: { ids in
                let found = try await statuses(ids, viewer: call.viewer, by: way)
                return ids.compactMap { id in
                    guard let status = found[id], accepts(status) else { return nil }
                    return (id, status)
                }
            }
        )
        var response = Response.json(page.shown)
        response.link(call, first: page.first, last: page.last, isFull: page.isFull)
        return response
    }
}
