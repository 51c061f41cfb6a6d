import Contracts
import Database
import HTTP
import Postgres
import ServiceKit
import Sharding

/// How a post does, for its author: counts as they are, past every cache.
struct InsightRoutes: Sendable {
    let directory: PostDirectory

    var endpoints: [Endpoint] {
        [
            Endpoint(
                .get,
                "/api/tessera/v1/statuses/:id/insights",
                operationID: "getStatusInsights",
                summary: "How often a post of one's own was seen, liked and answered.",
                tag: "statuses",
                access: .user(["read:statuses"]),
                output: .entity("StatusInsights")
            ) { call in
                let author = try call.user()
                let id: PostID = try call.id()
                guard let fragment = try await directory.fragment(id, viewer: author),
                    fragment.post.author == author
                else { throw ServiceError.notFound }
                return .json(try await insights(of: id))
            }
        ]
    }

    private func insights(of post: PostID) async throws(DatabaseError) -> StatusInsightsEntity {
        let counts: [KindCount] = try await directory.store.database.rows(
            """
            SELECT kind, value
            FROM counters.current
            WHERE bucket = \(post.bucket) AND subject = \(post)
            """,
            on: post
        )
        func count(_ kind: CounterKind) -> Int {
            counts.first { $0.kind == kind.rawValue }?.value ?? 0
        }
        return StatusInsightsEntity(
            id: post,
            views: count(.views),
            favourites: count(.likes),
            replies: count(.replies)
        )
    }
}

private struct KindCount: RowDecodable {
    let kind: Int16
    let value: Int

    init(row: inout Row) throws(DatabaseError) {
        kind = try row.next()
        value = try row.next()
    }
}
