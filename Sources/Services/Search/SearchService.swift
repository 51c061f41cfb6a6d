import Contracts
import HTTP
import ServiceKit
import Sharding

/// Finds accounts by name, posts by their address or id, and hashtags by how they are written.
///
/// Has no table: it asks the services that do. Full text comes with an index of its own.
package struct SearchService: Sendable {
    /// How many of a kind one answer has at most.
    package static let mostLimit = 40

    private let accounts: any AccountsClient
    private let posts: any PostsClient
    private let publicURL: String

    package init(accounts: any AccountsClient, posts: any PostsClient, publicURL: String) {
        self.accounts = accounts
        self.posts = posts
        self.publicURL = publicURL
    }

    package var endpoints: [Endpoint] {
        [
            Endpoint(
                .get,
                "/api/v2/search",
                operationID: "search",
                summary: "Accounts by name, posts by address or id.",
                tag: "search",
                access: .optionalUser,
                inputs: [
                    Parameter("q", .string, required: true, "A name, its beginning, an address."),
                    Parameter(
                        "type",
                        .oneOf(["accounts", "hashtags", "statuses"]),
                        "Only this kind."
                    ),
                    Parameter("limit", .integer, "How many of a kind, at most \(Self.mostLimit)."),
                    Parameter("offset", .integer, "How many to leave out; with a type only."),
                    Parameter("resolve", .boolean, "There are no other servers to look on."),
                ],
                output: .entity("Search")
            ) { try await search($0) }
        ]
    }

    private func search(_ call: Call) async throws -> Response {
        let query = try call.input.requiredString("q")
        let limit = min(max(call.input.int("limit") ?? 20, 1), Self.mostLimit)
        let offset = min(max(call.input.int("offset") ?? 0, 0), Self.mostLimit)
        let kind = call.input.string("type")
        var found = SearchEntity(accounts: [], statuses: [], hashtags: [])
        if kind == nil || kind == "accounts" {
            let accounts = try await accounts.search(
                query,
                limit: limit + offset,
                viewer: call.viewer
            )
            found.accounts = Array(accounts.dropFirst(offset))
        }
        if kind == nil || kind == "statuses", offset == 0, let id = post(named: query) {
            found.statuses = Array(try await posts.statuses([id], viewer: call.viewer).values)
        }
        if kind == nil || kind == "hashtags", offset == 0, query.hasPrefix("#") {
            found.hashtags = RichText(query).hashtags.prefix(1).map {
                TagEntity(name: $0, url: "\(publicURL)/tags/\(PercentEncoding.encode($0))")
            }
        }
        return .json(found)
    }

    /// The post that a text names: its id, or its address on this server.
    private func post(named text: String) -> PostID? {
        if let id = PostID(text) { return id }
        guard text.hasPrefix(publicURL + "/") else { return nil }
        let path = text.dropFirst(publicURL.count + 1).prefix { $0 != "?" && $0 != "#" }
        let parts = path.split(separator: "/")
        guard parts.count >= 2, parts[0].hasPrefix("@") || parts[0] == "users",
            let last = parts.last
        else { return nil }
        return PostID(String(last))
    }
}
