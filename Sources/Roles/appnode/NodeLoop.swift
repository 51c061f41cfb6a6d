import Accounts
import Contracts
import Database
import EventLoops
import Feed
import HTTP
import Interactions
import Logging
import Memcache
import Pages
import Processes
import Ranking
import ServiceKit
import Settings

/// Everything that one event loop has for itself: its database, caches, services and server.
final class NodeLoop: @unchecked Sendable {
    // @unchecked: built and used on `loop` only.
    let loop: EventLoop
    let database: Database
    let cache: MemcachedClient
    private let services: NodeServices
    private let server: HTTPServer

    /// How long what was recorded beside requests may take to be written at the end.
    private static let writeTime = Duration.seconds(2)

    /// Called on `loop`.
    init(loop: EventLoop, shared: NodeParts, database: Database, pools: PoolFollower) {
        let settings = shared.settings
        self.loop = loop
        self.database = database
        cache = pools.client(on: loop)
        CacheMetrics.register(cache, in: shared.metrics)
        DatabaseMetrics.register(database, in: shared.metrics)
        services = NodeServices(loop: loop, shared: shared, database: database, cache: cache)
        let everywhere = HealthEndpoints(health: shared.health).endpoints
        let description = OpenAPI.endpoint(
            describing: services.routes.all + everywhere,
            version: InstanceEntity.softwareVersion,
            serverURL: settings.publicURL,
            samples: EntitySamples.all
        )
        let front = ServiceServer(
            endpoints: services.routes.served(by: settings.services) + everywhere + [description],
            sessions: services.accounts.sessions,
            publicURL: settings.publicURL,
            metrics: shared.metrics,
            log: shared.log,
            access: settings.values.flag("log.access") ? AccessLog(sink: shared.sink) : nil,
            peers: shared.peers,
            acted: { [drop = services.drop] in await drop.acted([$0.rawValue]) }
        )
        server = HTTPServer(
            loop: loop,
            limits: settings.httpLimits,
            hooks: front.hooks,
            trustsForwarded: settings.values.flag("http.trust_forwarded"),
            handler: Failpoint.isAllowed ? AnswerFailpoint.wrap(front.handle) : front.handle
        )
        // Whatever shows anything asks the rules, which have to know what is gone.
        services.withdrawn.start()
        if settings.runs(.core) { services.feed.start() }
    }

    func listen(address: String, port: Int) throws {
        _ = try server.listen(address: address, port: port)
    }

    /// Ends what the loop does, requests first.
    func drain(deadline: Duration) async {
        await server.drain(deadline: deadline)
        services.feed.stop()
        services.withdrawn.stop()
        await services.interactions.drain(deadline: Self.writeTime)
        await services.ranking.drain(deadline: Self.writeTime)
        await database.close()
    }
}
