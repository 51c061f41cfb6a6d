import Database
import EventLoops
import Memcache
import Metrics
import Pages
import Postgres
import Sharding
import Shards
import TestSupport
import Testing

/// Rendered pages against real shards and a real memcached: what is withdrawn is not served, by any node.
@Suite struct `Kept pages` {
    private let home = PageKey.home(7)
    private let lifetime = Duration.seconds(60)

    /// One node: a loop's view of shards, log and cache.
    private final class Node: @unchecked Sendable {
        // @unchecked: used on its loop only.
        let cache: MemcachedClient
        let follower: WithdrawnFollower
        let pages: PageCache
        let drop: PageDrop

        init(
            _ loop: EventLoop,
            _ database: Database,
            _ memcached: MemcachedServer,
            limits: WithdrawnLog.Limits = WithdrawnLog.Limits()
        ) {
            let node = CacheNode(host: memcached.host, port: UInt16(memcached.port))
            let metrics = MetricsRegistry()
            cache = MemcachedClient(loop: loop, pools: [.feed: PoolMap(nodes: [node])])
            follower = WithdrawnFollower(
                loop: loop,
                database: database,
                limits: limits,
                metrics: metrics
            )
            pages = PageCache(
                loop: loop,
                cache: cache,
                follower: follower,
                lifetime: .seconds(60),
                metrics: metrics
            )
            drop = PageDrop(cache: cache)
            follower.start()
        }
    }

    private func run(
        memcached: MemcachedServer? = nil,
        limits: WithdrawnLog.Limits = WithdrawnLog.Limits(),
        _ body: @escaping @Sendable (TestCluster, Database, Node, Node) async throws -> Void
    ) async throws {
        var server = memcached
        if server == nil { server = try await MemcachedServer.start(megabytes: 16) }
        let own = server!
        let cluster = try await TestCluster.make(shards: 2)
        try await cluster.run { app, worker in
            let a = Node(app.loop, app, own, limits: limits)
            let b = Node(worker.loop, worker, own, limits: limits)
            let result: Result<Void, any Error>
            do {
                try await eventually(on: app.loop) {
                    a.pages.isReady && b.pages.isReady
                }
                result = .success(try await body(cluster, app, a, b))
            } catch {
                result = .failure(error)
            }
            a.follower.stop()
            b.follower.stop()
            try result.get()
        }
        if memcached == nil { await own.process.stop() }
    }

    /// Renders the page where it is not kept, as a service does.
    private func read(
        _ key: PageKey,
        by node: Node,
        showing post: Int64,
        of author: Int64 = 3,
        for viewer: Int64 = 7
    ) async -> RenderedPage? {
        switch await node.pages.find(key, limit: 20) {
        case .page(let page): return page
        case .nothing(let draft?):
            node.pages.keep(page(draft, showing: post, of: author, for: viewer), draft)
            return nil
        case .nothing(nil): return nil
        }
    }

    private func page(
        _ draft: PageDraft,
        showing post: Int64,
        of author: Int64 = 3,
        for viewer: Int64 = 7
    ) -> RenderedPage {
        RenderedPage(
            facts: PageFacts(
                viewer: viewer,
                posts: [.init(post: post, author: author)],
                position: draft.position
            ),
            limit: 20,
            first: post,
            last: post,
            isFull: false,
            renderedAt: PageCache.wallMilliseconds,
            tag: "\"abcdefghijklmnopqrstuv\"",
            stamps: draft.stamps,
            json: [91, 93]
        )
    }

    /// Keeps the page, and waits until it is served.
    private func warm(_ key: PageKey, by node: Node, on loop: EventLoop) async throws {
        try await eventually(on: loop) { await self.read(key, by: node, showing: 11) != nil }
    }

    private func withdraw(_ kind: Int, _ subject: Int64, _ other: Int64 = 0) -> SQL {
        "SELECT control.withdraw(\(kind)::smallint, \(subject)::bigint, \(other)::bigint)"
    }

    private let user = AnyKey(rawValue: HybridClock.id(reading: 1 << 20, bucket: BucketID.all[5]))

    @Test func `one node serves what another has rendered, until it is withdrawn`() async throws {
        try await run { cluster, app, a, b in
            // A node refuses what was rendered before it had heard of all shards for the first time.
            try await eventually(on: app.loop) {
                let first = await self.read(self.home, by: a, showing: 11)
                let second = await self.read(self.home, by: b, showing: 11)
                return first != nil && second != nil
            }
            try await app.write(on: user, [withdraw(1, 11)])
            try await eventually(on: app.loop) {
                let first = await self.read(self.home, by: a, showing: 11)
                let second = await self.read(self.home, by: b, showing: 11)
                return first == nil && second == nil
            }

            // Rendered anew from a stale source, it is refused all the same.
            for _ in 0..<5 {
                let served = await read(home, by: b, showing: 11)
                #expect(served == nil)
            }
        }
    }

    @Test func `a transaction that commits late is heard of`() async throws {
        try await run { cluster, app, a, b in
            try await warm(home, by: a, on: app.loop)
            try await app.transaction(on: user) { [home = self.home] transaction in
                try await transaction.query(self.withdraw(2, 3))
                // Others commit meanwhile, and their rows are read.
                try await app.write(on: self.user, [self.withdraw(1, 999)])
                try await self.eventually(on: app.loop) {
                    // The server ends a transaction that is idle for long.
                    try await transaction.query("SELECT 1")
                    return a.pages.log.isGone(999, by: 0)
                }
                try await self.eventually(on: app.loop) {
                    try await transaction.query("SELECT 1")
                    return await self.read(home, by: a, showing: 11) != nil
                }
            }
            try await eventually(on: app.loop) {
                await self.read(self.home, by: a, showing: 11) == nil
            }
        }
    }

    @Test func `a page that was rendered slowly, and done after the withdrawal, is not served`()
        async throws
    {
        try await run { cluster, app, a, b in
            guard case .nothing(let draft?) = await a.pages.find(home, limit: 20) else {
                Issue.record("no draft")
                return
            }
            try await app.write(on: user, [withdraw(1, 11)])
            try await eventually(on: app.loop) { b.pages.log.isGone(11, by: 0) }
            a.pages.keep(page(draft, showing: 11), draft)

            for _ in 0..<5 {
                let served = await read(home, by: b, showing: 12)
                #expect(served?.facts.posts.first?.post != 11)
            }
        }
    }

    @Test func `a memcached that slept serves nothing that was withdrawn meanwhile`() async throws {
        let memcached = try await MemcachedServer.start(megabytes: 16)
        try await run(memcached: memcached) { cluster, app, a, b in
            try await warm(home, by: a, on: app.loop)
            await memcached.process.freeze()
            try await app.write(on: user, [withdraw(4, 7, 3)])
            await a.drop.acted([7, 3])
            let asleep = await read(home, by: a, showing: 11)
            try await eventually(on: app.loop) { b.pages.log.areBlocked(3, 7) }
            memcached.process.thaw()
            for _ in 0..<40 {
                let served = await read(home, by: b, showing: 12)
                #expect(served?.facts.posts.first?.post != 11)
                try await app.loop.sleep(for: .milliseconds(10))
            }

            #expect(asleep == nil)
        }
        await memcached.process.stop()
    }

    @Test func `what its user did drops a page, and what its author did each viewer's`()
        async throws
    {
        try await run { cluster, app, a, b in
            let list = PageKey.statuses(author: 3, viewer: 7, list: "0")
            for (key, actor) in [(home, 7), (list, 3), (list, 7)] as [(PageKey, Int64)] {
                try await warm(key, by: a, on: app.loop)
                await b.drop.acted([actor])
                let served = await read(key, by: a, showing: 11)

                #expect(served == nil, "\(key) after \(actor)")
            }
        }
    }

    @Test func `a node that does not reach a shard serves nothing, and keeps nothing`() async throws
    {
        try await run { cluster, app, a, b in
            try await warm(home, by: a, on: app.loop)
            let gone = try ShardMap(
                generation: 1,
                entries: BucketID.all.map { cluster.map[$0] },
                shards: cluster.map.shards.map { record in
                    var record = record
                    if record.id.name == "s2" { record.members[0].port = 1 }
                    return record
                }
            )
            let cutOff = Database(
                loop: app.loop,
                map: gone,
                settings: DatabaseSettings(user: "app", password: "app-secret")
            )
            let memcached = a.cache.map(of: .feed)!.nodes[0]
            let follower = WithdrawnFollower(
                loop: app.loop,
                database: cutOff,
                limits: WithdrawnLog.Limits(),
                metrics: MetricsRegistry()
            )
            let pages = PageCache(
                loop: app.loop,
                cache: MemcachedClient(loop: app.loop, pools: [.feed: PoolMap(nodes: [memcached])]),
                follower: follower,
                lifetime: lifetime,
                metrics: MetricsRegistry()
            )
            follower.start()
            let s1 = ShardID("s1")!
            try await eventually(on: app.loop) { pages.log.position(on: s1) != nil }

            guard case .nothing(let draft) = await pages.find(home, limit: 20) else {
                Issue.record("a page was served")
                return
            }
            #expect(draft == nil)
            let others = await read(home, by: a, showing: 11)
            #expect(others != nil)
            follower.stop()
            await cutOff.close()
        }
    }

    @Test func `while a shard is silent, pages are served of people whom others own`() async throws
    {
        var limits = WithdrawnLog.Limits()
        limits.freshness = .seconds(2)
        try await run(limits: limits) { cluster, app, a, b in
            func user(on shard: String) -> Int64 {
                let bucket = cluster.map.buckets(of: ShardID(shard)!).first!
                return HybridClock.id(reading: 1 << 20, bucket: bucket)
            }
            let here = user(on: "s1"), there = user(on: "s2")
            let keys = [PageKey.home(1), .home(2), .home(3)]
            let people = [(here, here), (here, there), (there, here)]
            func served() async -> [Bool] {
                var all: [Bool] = []
                for (key, (viewer, author)) in zip(keys, people) {
                    let page = await self.read(key, by: a, showing: 11, of: author, for: viewer)
                    all.append(page != nil)
                }
                return all
            }
            try await eventually(on: app.loop) { await served() == [true, true, true] }
            // A shard answers for whom it is known to have owned since before the other was heard of last.
            let known = WithdrawnFollower.now
            try await eventually(on: app.loop) {
                let now = WithdrawnFollower.now
                return a.pages.log.age(at: now).map { $0 < now - known } ?? false
            }

            let silent = cluster.shards[1]
            try await silent.server.psql(
                """
                ALTER DATABASE \(silent.database) ALLOW_CONNECTIONS false;
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = '\(silent.database)';
                """
            )
            try await eventually(on: app.loop) { await served() == [true, false, false] }
            try await app.write(
                on: AnyKey(rawValue: here),
                [withdraw(2, here), withdraw(1, 999)]
            )
            try await eventually(on: app.loop) { a.pages.log.isGone(999, by: 0) }
            let gone = await served()
            try await silent.server.psql("ALTER DATABASE \(silent.database) ALLOW_CONNECTIONS true")
            try await eventually(on: app.loop) { await served()[1] }

            #expect(gone == [false, false, false])
        }
    }

    private func eventually(
        on loop: EventLoop,
        _ condition: () async throws -> Bool
    ) async throws {
        for _ in 0..<3_000 {
            if try await condition() { return }
            try await loop.sleep(for: .milliseconds(10))
        }
        throw NotInTime()
    }

    private struct NotInTime: Error {}
}

/// Any id; only its bucket counts here.
struct AnyKey: RoutedID {
    let rawValue: Int64
}
