import Contracts
import Database
import EventLoops
import Feed
import Graph
import Jobs
import Logging
import Metrics
import Postgres
import ServiceKit
import Sharding
import Shards
import Synchronization
import TestSupport

/// Feed and Graph on two real shards with a runner for their effects; posts are kept in memory.
final class FeedWorld: @unchecked Sendable {
    // @unchecked: used on its loop only.
    let cluster: TestCluster
    let app: Database
    let worker: Database
    let posts = MemoryPosts()
    let threshold: Int
    let rangeSize: Int
    let service: FeedService
    private var runners: [JobRunner] = []

    private init(
        _ cluster: TestCluster,
        _ app: Database,
        _ worker: Database,
        threshold: Int,
        rangeSize: Int
    ) {
        self.cluster = cluster
        self.app = app
        self.worker = worker
        self.threshold = threshold
        self.rangeSize = rangeSize
        service = FeedService(
            loop: app.loop,
            database: app,
            posts: posts,
            pages: nil,
            interactions: nil,
            logger: Self.silence
        )
    }

    static let silence = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    static func run(
        shards: Int = 2,
        threshold: Int = 1_000,
        rangeSize: Int = FanOut.rangeSize,
        _ body: @escaping @Sendable (FeedWorld) async throws -> Void
    ) async throws {
        let cluster = try await TestCluster.make(
            shards: shards,
            modules: ["Counters", "Jobs", "Accounts", "Graph", "Feed"]
        )
        try await cluster.run { app, worker in
            let world = FeedWorld(
                cluster,
                app,
                worker,
                threshold: threshold,
                rangeSize: rangeSize
            )
            let result: Result<Void, any Error>
            do { result = .success(try await body(world)) } catch { result = .failure(error) }
            world.service.stop()
            for runner in world.runners { await runner.drain(deadline: .seconds(10)) }
            try result.get()
        }
    }

    var store: FeedStore { FeedStore(database: app) }
    var graph: GraphStore { GraphStore(database: app) }

    // MARK: People

    func aUser(_ number: Int) -> UserID {
        let shards = cluster.map.shards.map(\.id)
        let own = cluster.map.buckets(of: shards[number % shards.count])
        return UserID(
            rawValue: HybridClock.id(
                reading: Int64(number + 1) << 20,
                bucket: own[number % own.count]
            )
        )
    }

    func follow(_ target: UserID, by user: UserID) async throws {
        let terms = try await graph.terms(of: user, for: target)
        _ = try await graph.follow(target, by: user, on: terms, traceparent: nil)
    }

    func unfollow(_ target: UserID, by user: UserID) async throws {
        _ = try await graph.unfollow(target, by: user, traceparent: nil)
    }

    @discardableResult
    func publish(by author: UserID) async throws -> PostID {
        let post = posts.add(by: author)
        let effect = PostEffect(post: post, author: author)
        try await app.write(
            on: author,
            [Effect(EffectKinds.feedFanOut, owner: author, payload: effect).enqueue]
        )
        return post
    }

    func delete(_ post: PostID, of author: UserID) async throws {
        posts.remove(post)
        let effect = PostEffect(post: post, author: author)
        try await app.write(
            on: author,
            [Effect(EffectKinds.feedRetract, owner: author, payload: effect).enqueue]
        )
    }

    // MARK: Workers

    func startWorkers(_ count: Int = 1) {
        for _ in 0..<count {
            var settings = JobRunner.Settings()
            settings.policy.firstDelay = .milliseconds(2)
            let runner = JobRunner(
                loop: worker.loop,
                database: worker,
                handlers: [Untold()] + GraphService.effects(database: worker, drop: nil)
                    + FeedService.effects(
                        database: worker,
                        posts: posts,
                        drop: nil,
                        threshold: threshold,
                        rangeSize: rangeSize
                    ),
                settings: settings,
                metrics: MetricsRegistry(),
                logger: Self.silence
            )
            runner.start()
            runners.append(runner)
        }
    }

    /// Waits until the outboxes are empty; fails on dead letters.
    func settle() async throws {
        for _ in 0..<6_000 {
            let left: [(ShardID, [Int])] = try await worker.everyShard(
                """
                SELECT (SELECT count(*) FROM jobs.outbox)
                    + 1000000 * (SELECT count(*) FROM jobs.dead)
                """
            )
            let count = left.reduce(0) { $0 + $1.1.reduce(0, +) }
            if count == 0 { return }
            if count >= 1_000_000 { throw Unsettled(description: "there are dead letters") }
            try await app.loop.sleep(for: .milliseconds(5))
        }
        throw Unsettled(description: "effects are left")
    }

    struct Unsettled: Error { let description: String }

    // MARK: Reading

    func home(of reader: UserID, _ request: PageRequest = PageRequest(limit: 40)) async throws
        -> [PostID]
    {
        try await service.home(of: reader, request).statuses.map(\.id)
    }

    /// Every page of a timeline, from the newest post down.
    func wholeHome(of reader: UserID, limit: Int = 20) async throws -> [PostID] {
        var all: [PostID] = []
        var request = PageRequest(limit: limit)
        while true {
            let page = try await home(of: reader, request)
            all += page
            guard let last = page.last else { return all }
            request.maxID = last.rawValue
        }
    }

    func entries(of reader: UserID) async throws -> [PostID] {
        let text = try await cluster.psql(
            reader,
            "SELECT post_id FROM feed.entry WHERE reader = \(reader) ORDER BY post_id DESC"
        )
        return text.split(separator: "\n").compactMap { PostID(String($0)) }
    }
}

/// Notifications, which nobody waits for here.
private struct Untold: EffectHandler {
    let kind = EffectKinds.notify

    func handle(_ effect: ClaimedEffect) async throws {}
}

/// Posts as Posts would answer for them.
final class MemoryPosts: PostsClient {
    private struct State {
        var authors: [PostID: UserID] = [:]
        var deleted: Set<PostID> = []
        var last: Int64 = 1 << 40
    }

    private let state = Mutex(State())

    func add(by author: UserID) -> PostID {
        state.withLock { state in
            state.last += 64
            let id = PostID(rawValue: HybridClock.id(reading: state.last, bucket: author.bucket))
            state.authors[id] = author
            return id
        }
    }

    func remove(_ post: PostID) {
        state.withLock { _ = $0.deleted.insert(post) }
    }

    /// Live posts of these authors, newest first.
    func live(of authors: Set<UserID>) -> [PostID] {
        state.withLock { state in
            state.authors.filter { authors.contains($0.value) && !state.deleted.contains($0.key) }
                .map(\.key).sorted(by: >)
        }
    }

    func recentPosts(of authors: [UserID], in window: FeedWindow) async throws -> [PostReference] {
        let found = live(of: Set(authors)).filter {
            $0.rawValue > window.above && $0.rawValue < window.below
        }
        return window.cut(
            found.map { id in PostReference(id: id, author: state.withLock { $0.authors[id]! }) }
        )
    }

    func recentCount(of authors: [UserID], from id: Int64, limit: Int) async throws -> Int {
        live(of: Set(authors)).count { $0.rawValue >= id }
    }

    func homeStatuses(
        _ posts: [PostReference],
        viewer: UserID,
        marks: ViewerMarks
    ) async throws -> [PostID: StatusEntity] {
        try await statuses(posts.map(\.id), viewer: viewer)
    }

    func homeMarks(of viewer: UserID, in window: FeedWindow) async throws -> ViewerMarks {
        ViewerMarks()
    }

    func taggedPosts(for reader: UserID, in window: FeedWindow) async throws -> [PostReference] {
        []
    }

    func statuses(
        _ ids: [PostID],
        viewer: UserID?,
        by way: VisibilityRules.Way
    ) async throws -> [PostID: StatusEntity] {
        state.withLock { state in
            var found: [PostID: StatusEntity] = [:]
            for id in ids where !state.deleted.contains(id) {
                guard let author = state.authors[id] else { continue }
                found[id] = StatusEntity(
                    id: id,
                    createdAt: id.createdAt,
                    account: AccountEntity(
                        id: author,
                        username: "u\(author)",
                        displayName: "",
                        url: "",
                        avatar: "",
                        header: "",
                        createdAt: author.createdAt
                    ),
                    content: "",
                    visibility: .public,
                    url: ""
                )
            }
            return found
        }
    }
}
