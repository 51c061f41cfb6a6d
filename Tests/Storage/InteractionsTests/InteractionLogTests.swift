import Database
import EventLoops
import Logging
import Metrics
import Postgres
import Sharding
import Shards
import TestSupport
import Testing

@testable import Interactions

struct InteractionLogTests {
    struct User: RoutedID {
        let rawValue: Int64
    }

    private func aUser(_ bucket: Int64) -> User {
        User(rawValue: 1_700_000_000_000 << 16 | bucket << 6)
    }

    private func aLog(
        _ database: Database,
        perSecond: Int = 10_000,
        metrics: MetricsRegistry = MetricsRegistry()
    ) -> InteractionLog {
        InteractionLog(
            database: database,
            servedPerSecond: perSecond,
            metrics: metrics,
            log: Logger(label: "test")
        )
    }

    @Test func `what was served lies on the viewer's shard, in its order`() async throws {
        let shards = try await TestCluster.make(shards: 2, modules: ["Interactions"])
        let viewers = (0..<40).map { aUser($0) }
        let posts = [aUser(900), aUser(5), aUser(77)]
        try await shards.run { app, _ in
            let log = aLog(app)
            for viewer in viewers {
                log.record(
                    request: "r\(viewer.bucket)",
                    viewer: viewer,
                    surface: .home,
                    ordering: "newest-1",
                    posts: posts,
                    firstPosition: 20
                )
            }
            await log.drain(deadline: .seconds(20))
        }

        for shard in shards.shards {
            let expected = viewers.filter { shards.map[$0.bucket].shard.name == shard.id }
            let rows = try await shard.psql(
                """
                SELECT viewer, request, kind, surface, ordering, posts, positions, milliseconds
                FROM interactions.event ORDER BY viewer
                """
            )
            let list = posts.map(\.description).joined(separator: ",")
            #expect(
                rows.split(separator: "\n").map(String.init)
                    == expected.map {
                        "\($0)|r\($0.bucket)|1|home|newest-1|{\(list)}|{20,21,22}|{}"
                    }
            )
        }
    }

    @Test func `a log that is full drops and counts, and keeps what it has`() async throws {
        let shards = try await TestCluster.make(shards: 1, modules: ["Interactions"])
        let metrics = MetricsRegistry()
        let viewer = aUser(1)
        try await shards.run { app, _ in
            let log = aLog(app, metrics: metrics)
            for number in 0..<InteractionLog.queueLimit + 25 {
                log.record(
                    request: "\(number)",
                    viewer: viewer,
                    surface: .home,
                    ordering: "newest-1",
                    posts: [viewer]
                )
            }
            await log.drain(deadline: .seconds(20))
            log.record(
                request: "late",
                viewer: viewer,
                surface: .home,
                ordering: "newest-1",
                posts: [viewer]
            )
        }

        let rows = try await shards.shards[0].psql("SELECT count(*) FROM interactions.event")
        let text = metrics.render()
        #expect(rows == "\(InteractionLog.queueLimit)")
        #expect(text.contains("tessera_interactions_written_total \(InteractionLog.queueLimit)\n"))
        #expect(text.contains("tessera_interactions_dropped_total 26\n"))
    }

    @Test
    func `a shard that is down loses nothing of the others, and gets its own when it is back`()
        async throws
    {
        let shards = try await TestCluster.make(
            shards: 2,
            modules: ["Interactions"],
            ownServers: true
        )
        let viewers = (0..<60).map { aUser($0) }
        let sick = shards.shards[0]
        try await shards.run { app, _ in
            let log = aLog(app)
            await sick.server.process.kill()
            for viewer in viewers {
                log.record(
                    request: "",
                    viewer: viewer,
                    surface: .home,
                    ordering: "newest-1",
                    posts: viewers
                )
            }
            let healthy = viewers.filter { shards.map[$0.bucket].shard.name != sick.id }
            while try await shards.shards[1].psql("SELECT count(*) FROM interactions.event")
                != "\(healthy.count)"
            {
                try await app.loop.sleep(for: .milliseconds(50))
            }
            try await sick.server.startAgain()
            let rest = viewers.count - healthy.count
            while try await sick.psql("SELECT count(*) FROM interactions.event") != "\(rest)" {
                try await app.loop.sleep(for: .milliseconds(50))
            }
        }
        await shards.stopServers()
    }

    @Test func `so many records begin in a second, and no more`() {
        var budget = RecordBudget(perSecond: 10)

        let first = (0..<30).filter { _ in budget.take(at: 1_000) }.count
        let later = (0..<30).filter { _ in budget.take(at: 1_500) }.count
        let muchLater = (0..<30).filter { _ in budget.take(at: 60_000) }.count

        #expect(first == 10)
        #expect(later == 5)
        #expect(muchLater == 10)
    }
}
