import Contracts
import Counters
import Database
import EventLoops
import HTTP
import Interactions
import JSON
import Logging
import Metrics
import Postgres
import ServiceKit
import Sharding
import Shards
import TestSupport
import Testing

@testable import Ranking

struct InteractionRouteTests {
    @Test func `views are logged on the viewer's shard and counted on the posts'`() async throws {
        let shards = try await cluster()
        let posts = (0..<6).map { aPost($0) }
        let viewer = UserID(rawValue: aPost(900).rawValue)
        for post in posts { try await publish(post, on: shards) }
        let views = (posts + [aPost(7)]).enumerated().map { place, post in
            #"{"id":"\#(post)","position":\#(place),"milliseconds":\#(place * 100)}"#
        }
        let list = views.joined(separator: ",")
        let body = #"{"surface":"profile","request_id":"abc","views":[\#(list)]}"#
        try await shards.run { app, worker in
            let world = World(app)
            for _ in 0..<3 {
                let status = try await world.report(body, by: viewer)
                #expect(status == 202)
            }
            await world.drain()
            for shard in worker.shards {
                _ = try await CounterFolder(database: worker).fold(on: shard)
            }
        }

        let counts = try await shards.psqlOnEveryShard(
            "SELECT subject, value FROM counters.current WHERE kind = 4 ORDER BY 1"
        )
        #expect(Set(counts) == Set(posts.map { "\($0)|3" }))
        let rows = try await shards.psql(
            viewer,
            """
            SELECT kind, request, surface, cardinality(posts), milliseconds[3]
            FROM interactions.event WHERE viewer = \(viewer)
            """
        )
        #expect(rows == Array(repeating: "2|abc|profile|7|200", count: 3).joined(separator: "\n"))
    }

    private static let tooMany = Array(repeating: #"{"id":"12","milliseconds":1}"#, count: 101)
        .joined(separator: ",")

    @Test(
        arguments: [
            "{}", #"{"views":[]}"#, #"{"views":[{"milliseconds":1}]}"#,
            #"{"views":[{"id":"12"}]}"#, #"{"views":[{"id":"x","milliseconds":1}]}"#,
            #"{"views":[{"id":"12","milliseconds":-1}]}"#,
            #"{"views":[{"id":"12","milliseconds":3600001}]}"#,
            #"{"views":[{"id":"12","milliseconds":1,"position":10001}]}"#,
            #"{"surface":"nowhere","views":[{"id":"12","milliseconds":1}]}"#,
            #"{"request_id":"a b","views":[{"id":"12","milliseconds":1}]}"#,
            "{\"views\":[\(tooMany)]}",
        ]
    )
    func `a report that makes no sense is refused`(body: String) throws {
        var input = Input()
        try input.add(try JSONReader.parse(Array(body.utf8)))

        #expect(throws: ServiceError.self) { try Report(input) }
    }

    @Test func `a user who reports too often is told to wait, and nobody else`() {
        var budget = ReportBudget()
        let (one, other) = (UserID(rawValue: 64), UserID(rawValue: 128))

        let atOnce = (0..<100).filter { _ in budget.take(one, at: 1_000) }.count
        let neighbour = budget.take(other, at: 1_000)
        let later = (0..<100).filter { _ in budget.take(one, at: 6_000) }.count

        #expect(atOnce == Int(ReportBudget.burst))
        #expect(neighbour)
        #expect(later == 5)
    }

    // MARK: Parts

    private func cluster() async throws -> TestCluster {
        try await TestCluster.make(
            shards: 2,
            modules: ["Counters", "Interactions", "Jobs", "Posts"]
        )
    }

    private func aPost(_ bucket: Int64) -> PostID {
        PostID(rawValue: 1_700_000_000_000 << 16 | bucket << 6)
    }

    private func publish(_ post: PostID, on shards: TestCluster) async throws {
        try await shards.psql(
            post,
            """
            INSERT INTO posts.post (bucket, id, author, text, visibility, created_at)
            VALUES (\(post.bucket), \(post), \(post), 'a', 0, now())
            """
        )
    }
}

/// The service behind its route, on one loop.
private final class World: @unchecked Sendable {
    // @unchecked: used on its loop only.
    private let server: ServiceServer
    private let service: RankingService
    private let log: InteractionLog
    private let loop: EventLoop

    private struct Sessions: SessionsClient {
        /// A token is the user's id.
        func revoked(among sessions: [SessionID]) async throws -> Set<SessionID> { [] }

        func verify(_ token: String) async throws -> Authentication? {
            UserID(token).map {
                Authentication(user: $0, session: nil, scopes: Scopes(names: ["read"]))
            }
        }
    }

    init(_ database: Database) {
        let metrics = MetricsRegistry()
        let logger = Logger(label: "test")
        loop = database.loop
        log = InteractionLog(
            database: database,
            servedPerSecond: 100,
            metrics: metrics,
            log: logger
        )
        service = RankingService(
            database: database,
            interactions: log,
            metrics: metrics,
            log: logger
        )
        server = ServiceServer(
            endpoints: service.endpoints,
            sessions: Sessions(),
            publicURL: "http://tessera.test",
            metrics: metrics,
            log: logger
        )
    }

    func report(_ body: String, by user: UserID) async throws -> Int {
        let request = Request(
            .post,
            "/api/tessera/v1/interactions",
            headers: ["Authorization": "Bearer \(user)", "Content-Type": "application/json"],
            body: RequestBody(bytes: Array(body.utf8)),
            loop: loop
        )
        return try await server.handle(request).status.code
    }

    func drain() async {
        await log.drain(deadline: .seconds(20))
        await service.drain(deadline: .seconds(20))
    }
}
