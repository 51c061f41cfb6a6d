import EventLoops
import HTTP
import JSON
import Postgres
import ServiceKit
import Sharding

/// Twenty rows of an index, one query a request, as an app node reads them: through the read lane.
struct Select20Route {
    private static let bucket = BucketID(rawValue: 7)!
    private static let authors = 1_000

    private let pool: PostgresPool
    private let turn = Turn()

    /// Which author is next; touched on its loop only.
    private final class Turn: @unchecked Sendable {
        // @unchecked: one for each loop, whose requests run on it.
        private var count = 0

        func next() -> Int {
            defer { count += 1 }
            return 1 + count % Select20Route.authors
        }
    }

    private struct Post: RowDecodable {
        let id: Int64
        let caption: String
        let createdAt: Timestamp

        init(row: inout Row) throws(DatabaseError) {
            id = try row.next()
            caption = try row.next()
            createdAt = try row.next()
        }
    }

    init(loop: EventLoop, port: Int, connections: Int) {
        var settings = PostgresSettings(
            hosts: [.init(name: "127.0.0.1", port: UInt16(port))],
            database: "bench",
            user: "bench",
            applicationName: "benchnode"
        )
        settings.readConnections = connections
        pool = PostgresPool(loop: loop, settings: settings)
    }

    var endpoints: [Endpoint] {
        [
            endpoint("select20", "Twenty rows, written into the answer as they are read.") {
                try await answer(turn.next())
            },
            endpoint("select20-values", "Twenty rows, which become values first.") {
                try await valuesAnswer(turn.next())
            },
        ]
    }

    private func endpoint(
        _ name: String,
        _ summary: String,
        _ answer: @escaping @Sendable () async throws -> Response
    ) -> Endpoint {
        Endpoint(
            .get,
            "/" + name,
            operationID: name,
            summary: summary,
            tag: "bench",
            access: .open,
            output: .content("application/json")
        ) { _ in
            try await answer()
        }
    }

    private func answer(_ author: Int) async throws -> Response {
        let rows = try await rows(of: author)
        return try .json { (json) throws(DatabaseError) in
            try json.array { (json) throws(DatabaseError) in
                try rows.forEach { (row) throws(DatabaseError) in
                    try json.object { (json) throws(DatabaseError) in
                        json.key("id")
                        json.string(decimal: try row.next())
                        json.key("caption")
                        try row.text { json.string(utf8: $0) }
                        json.key("created_at")
                        json.int(try row.next(Timestamp.self).milliseconds)
                    }
                }
            }
        }
    }

    private func valuesAnswer(_ author: Int) async throws -> Response {
        let posts: [Post] = try await rows(of: author).decode()
        return .json { json in
            json.array { json in
                for post in posts {
                    json.object { json in
                        json.key("id")
                        json.string(decimal: post.id)
                        json.key("caption")
                        json.string(post.caption)
                        json.key("created_at")
                        json.int(post.createdAt.milliseconds)
                    }
                }
            }
        }
    }

    private func rows(of author: Int) async throws(DatabaseError) -> Rows {
        try await pool.read(
            """
            SELECT id, caption, created_at FROM post
            WHERE bucket = \(Self.bucket) AND author_id = \(author)
            ORDER BY id DESC LIMIT 20
            """
        )
    }
}
