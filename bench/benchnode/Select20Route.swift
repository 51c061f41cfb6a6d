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
            count += 1
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

    init(loop: EventLoop, port: Int) {
        var settings = PostgresSettings(
            hosts: [.init(name: "127.0.0.1", port: UInt16(port))],
            database: "bench",
            user: "bench",
            applicationName: "benchnode"
        )
        settings.readConnections = 2
        pool = PostgresPool(loop: loop, settings: settings)
    }

    var endpoint: Endpoint {
        Endpoint(
            .get,
            "/select20",
            operationID: "select20",
            summary: "Twenty rows.",
            tag: "bench",
            access: .open,
            output: .content("application/json")
        ) { [self] _ in
            let posts = try await posts(of: turn.next())
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
    }

    private func posts(of author: Int) async throws(DatabaseError) -> [Post] {
        try await pool.read(
            """
            SELECT id, caption, created_at FROM post
            WHERE bucket = \(Self.bucket) AND author_id = \(author)
            ORDER BY id DESC LIMIT 20
            """
        ).decode()
    }
}
