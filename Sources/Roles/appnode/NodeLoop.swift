import Accounts
import Bus
import Contracts
import Database
import EventLoops
import Events
import Feed
import Graph
import HTTP
import Instance
import Interactions
import JSON
import Logging
import Media
import Memcache
import Notifications
import Pages
import Posts
import Processes
import Ranking
import Search
import ServiceKit
import Settings
import Streaming

/// Everything that one event loop has for itself: its database, caches, services and server.
final class NodeLoop: @unchecked Sendable {
    // @unchecked: built and used on `loop` only.
    let loop: EventLoop
    let database: Database
    let cache: MemcachedClient
    private let feed: FeedService
    private let interactions: InteractionLog
    private let ranking: RankingService
    private let withdrawn: WithdrawnFollower
    private let bus: BusClient
    private let streams: StreamHub
    private let server: HTTPServer

    /// How long what was recorded beside requests may take to be written at the end.
    private static let writeTime = Duration.seconds(2)

    /// What every endpoint of this node needs of each shard's schema.
    static let schemas: [SchemaRequirement] = [
        AccountsService.schema, FeedService.schema, GraphService.schema, MediaService.schema,
        NotificationsService.schema, PostsService.schema, RankingService.schema,
        ServiceKitSchema.requirement, StreamingService.schema,
        // Reads are held against control.ownership, rendered pages against control.withdrawn.
        SchemaRequirement(module: "Database", number: 5),
    ]

    /// The same by module, as the node tells it to etcd.
    static var schemaNumbers: [String: Int] {
        Dictionary(schemas.map { ($0.module, $0.number) }, uniquingKeysWith: max)
    }

    /// Called on `loop`.
    init(loop: EventLoop, shared: NodeParts, database: Database, pools: PoolFollower) {
        let settings = shared.settings
        let url = settings.publicURL
        self.loop = loop
        self.database = database
        cache = pools.client(on: loop)
        CacheMetrics.register(cache, in: shared.metrics)
        DatabaseMetrics.register(database, in: shared.metrics)

        withdrawn = WithdrawnFollower(
            loop: loop,
            database: database,
            limits: settings.withdrawnLimits,
            metrics: shared.metrics
        )
        let pages = PageCache(
            loop: loop,
            cache: cache,
            follower: withdrawn,
            lifetime: settings.pageLifetime,
            metrics: shared.metrics
        )
        let drop = PageDrop(cache: cache)

        let media = MediaService(
            database: database,
            objects: shared.objects,
            images: shared.images,
            publicURL: url
        )
        let accounts = AccountsService(
            loop: loop,
            database: database,
            cache: cache,
            images: media,
            security: shared.security,
            settings: settings.accounts,
            publicURL: url
        )
        let graph = GraphService(
            database: database,
            accounts: accounts.directory,
            drop: drop
        )
        interactions = InteractionLog(
            database: database,
            servedPerSecond: settings.values.integer("interactions.served_per_second"),
            metrics: shared.metrics,
            log: shared.log
        )
        let posts = PostsService(
            database: database,
            cache: cache,
            accounts: accounts.directory,
            graph: graph,
            media: media,
            pages: pages,
            interactions: interactions,
            publicURL: url
        )
        ranking = RankingService(
            database: database,
            interactions: interactions,
            metrics: shared.metrics,
            log: shared.log
        )
        feed = FeedService(
            loop: loop,
            database: database,
            posts: posts.client,
            pages: pages,
            interactions: interactions,
            logger: shared.log
        )
        let notifications = NotificationsService(
            database: database,
            accounts: accounts.directory,
            graph: graph,
            posts: posts.client
        )
        bus = BusClient(loop: loop, settings: shared.bus, metrics: shared.metrics, log: shared.log)
        let bell = EventBell(bus: bus)
        streams = StreamHub(
            bus: bus,
            log: EventLog(database: database),
            posts: posts.client,
            notifications: notifications,
            sessions: accounts.sessions,
            metrics: shared.metrics,
            logger: shared.log
        )
        let streaming = StreamingService(hub: streams, sessions: accounts.sessions)
        let search = SearchService(
            accounts: accounts.directory,
            posts: posts.client,
            publicURL: url
        )
        let instance = InstanceService(
            instance: settings.instance,
            figures: NodeFigures(
                loop: loop,
                accounts: accounts.directory,
                feed: feed,
                posts: posts
            ).current
        )
        var endpoints = accounts.endpoints + graph.endpoints + posts.endpoints
        endpoints += media.endpoints + feed.endpoints + search.endpoints + instance.endpoints
        endpoints += ranking.endpoints + notifications.endpoints + streaming.endpoints
        endpoints += HealthEndpoints(health: shared.health).endpoints
        endpoints.append(
            OpenAPI.endpoint(
                describing: endpoints,
                version: InstanceEntity.softwareVersion,
                serverURL: url,
                samples: EntitySamples.all
            )
        )
        let services = ServiceServer(
            endpoints: endpoints,
            sessions: accounts.sessions,
            publicURL: url,
            metrics: shared.metrics,
            log: shared.log,
            access: settings.values.flag("log.access") ? AccessLog(sink: shared.sink) : nil,
            acted: { user in
                bell.effectsWereEnqueued()
                await drop.acted([user.rawValue])
            }
        )
        server = HTTPServer(
            loop: loop,
            limits: settings.httpLimits,
            hooks: services.hooks,
            trustsForwarded: settings.values.flag("http.trust_forwarded"),
            handler: Failpoint.isAllowed
                ? AnswerFailpoint.wrap(services.handle) : services.handle
        )
        withdrawn.start()
        feed.start()
        bus.start()
        streams.start()
    }

    func listen(address: String, port: Int) throws {
        _ = try server.listen(address: address, port: port)
    }

    /// Ends what the loop does, requests first.
    func drain(deadline: Duration) async {
        streams.stop()
        await server.drain(deadline: deadline)
        bus.stop()
        feed.stop()
        withdrawn.stop()
        await interactions.drain(deadline: Self.writeTime)
        await ranking.drain(deadline: Self.writeTime)
        await database.close()
    }
}
