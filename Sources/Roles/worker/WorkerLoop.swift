import Accounts
import Contracts
import Database
import EventLoops
import Feed
import Graph
import Interactions
import Jobs
import Logging
import Media
import Memcache
import Metrics
import Objects
import Pages
import Posts
import ServiceKit
import Sharding

/// Everything that one event loop of a worker has for itself.
final class WorkerLoop: @unchecked Sendable {
    // @unchecked: built and used on `loop` only.
    let loop: EventLoop
    let database: Database
    let cache: MemcachedClient
    private let runner: JobRunner
    private let chores: Chores
    private let recounts: Recounts
    private let interactions: InteractionUpkeep
    private let collector: MediaCollector?

    init(
        loop: EventLoop,
        share: (index: Int, of: Int),
        map: ShardMap,
        pools: PoolFollower,
        settings: WorkerSettings,
        objects: ObjectFiles?,
        metrics: MetricsRegistry,
        log: Logger
    ) throws {
        self.loop = loop
        let database = Database(
            loop: loop,
            map: map,
            settings: settings.database.reporting(to: log)
        )
        self.database = database
        cache = pools.client(on: loop)
        CacheMetrics.register(cache, in: metrics)
        DatabaseMetrics.register(database, in: metrics)
        let posts = PostsService(
            database: database,
            cache: cache,
            accounts: Unasked(),
            graph: Unasked(),
            media: Unasked(),
            pages: nil,
            interactions: nil,
            publicURL: settings.publicURL
        )
        let drop = PageDrop(cache: cache)
        var jobs = JobRunner.Settings()
        jobs.share = share
        runner = JobRunner(
            loop: loop,
            database: database,
            handlers: AccountsService.effects(database: database)
                + FeedService.effects(
                    database: database,
                    posts: posts.client,
                    drop: drop,
                    threshold: settings.pushThreshold
                )
                + GraphService.effects(database: database, drop: drop)
                + MediaService.effects(database: database)
                + posts.effects,
            settings: jobs,
            metrics: metrics,
            logger: log
        )
        chores = Chores(
            database: database,
            share: share,
            idleDays: settings.idleDays,
            metrics: metrics,
            log: log
        )
        recounts = Recounts(
            database: database,
            share: share,
            percent: settings.recountPercent,
            metrics: metrics,
            log: log
        )
        interactions = InteractionUpkeep(
            database: database,
            share: share,
            days: settings.interactionDays,
            export: objects.map {
                InteractionExport(database: database, objects: $0.store, offload: $0.offload)
            },
            metrics: metrics,
            log: log
        )
        // One loop collects for the process: the files are the same ones.
        collector =
            share.index == 0
            ? objects.map { MediaCollector(database: database, objects: $0.store, logger: log) }
            : nil
    }

    func start() {
        runner.start()
        chores.start()
        recounts.start()
        interactions.start()
        collector?.start()
    }

    func drain(deadline: Duration) async {
        chores.stop()
        recounts.stop()
        interactions.stop()
        collector?.stop()
        await runner.drain(deadline: deadline)
        await database.close()
    }
}

/// The objects, and the threads on which their files are worked at.
struct ObjectFiles: Sendable {
    let store: DirectoryStore
    let offload: Offload
}

/// What a worker never asks: it moves ids and renders nothing.
private struct Unasked: AccountsClient, GraphClient, MediaClient {
    private struct NotHere: Error {}

    func accounts(_ ids: [UserID]) async throws -> [UserID: AccountEntity] { throw NotHere() }
    func fragmentName(of id: UserID) -> String { "" }
    var fragmentLifetime: Duration { .zero }
    func fragments(of ids: [UserID]) async throws -> [UserID: [UInt8]] { throw NotHere() }
    func account(fragment: [UInt8]) -> AccountEntity? { nil }
    func find(usernames: [String]) async throws -> [String: UserID] { throw NotHere() }
    func search(
        _ query: String,
        limit: Int,
        viewer: UserID?
    ) async throws -> [AccountEntity] { throw NotHere() }

    func relationships(
        of viewer: UserID,
        to ids: [UserID]
    ) async throws -> [RelationshipEntity] { throw NotHere() }

    func followed(by user: UserID, among targets: [UserID]) async throws -> Set<UserID> {
        throw NotHere()
    }

    func standing(of viewer: UserID, to others: [UserID]) async throws -> ViewerStanding {
        throw NotHere()
    }

    func closeFriendships(
        of viewer: UserID,
        among authors: [UserID]
    ) async throws -> Set<UserID> { throw NotHere() }

    func restricts(_ user: UserID, _ other: UserID) async throws -> Bool { throw NotHere() }

    func attachable(
        _ ids: [MediaID],
        owner: UserID
    ) async throws -> [MediaID: MediaAttachmentEntity] { throw NotHere() }

    func attachments(_ ids: [MediaID]) async throws -> [MediaID: MediaAttachmentEntity] {
        throw NotHere()
    }

    func attachments(of posts: [PostID]) async throws -> [MediaID: MediaAttachmentEntity] {
        throw NotHere()
    }

    func describe(
        _ id: MediaID,
        owner: UserID,
        description: String?,
        focus: MediaAttachmentEntity.Focus?
    ) async throws { throw NotHere() }
}
