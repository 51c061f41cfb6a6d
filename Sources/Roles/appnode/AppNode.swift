import Contracts
import Database
import Etcd
import EventLoops
import Glibc
import Logging
import Memcache
import Processes
import Settings
import Sharding
import Synchronization

/// Serves the API: every service on every loop of this process, and nothing kept between requests.
@main
final class AppNode: Role {
    static let name = "appnode"
    static let summary = "serves Tessera's API"
    static let table = AppNodeSettings.table

    private let settings: AppNodeSettings
    private let loops: [EventLoop]
    private let shared: NodeParts
    private let health: NodeHealth
    private let running = Mutex(Running())

    private struct Running {
        var loops: [NodeLoop] = []
        var follower: MapFollower?
        var pools: PoolFollower?
        var watch: ShardWatch?
    }

    init(_ values: SettingValues, _ parts: ProcessParts) throws {
        settings = AppNodeSettings(values)
        loops = parts.loops
        health = NodeHealth()
        shared = try NodeParts(
            settings: settings,
            metrics: parts.metrics,
            sink: parts.sink,
            log: parts.log,
            health: health
        )
    }

    static func main() {
        let arguments = CommandLine.arguments.dropFirst()
        if arguments.contains(RouteList.flag) {
            RouteList.show(arguments: arguments.filter { $0 != RouteList.flag })
        } else {
            run(AppNode.self)
        }
    }

    /// As every role is run: its own `main` hides that of all.
    private static func run<R: Role>(_ role: R.Type) { role.main() }

    // MARK: Start

    func start() async throws {
        let databaseSettings = try settings.database.reporting(to: shared.log)
        let etcd = try EtcdSettings(settings.values)
        let (follower, map) = try await onLoop(loops[0]) { [loops, settings, shared] in
            let follower = MapFollower(
                loop: loops[0],
                etcd: etcd,
                copy: settings.values.text("map.cache_file"),
                report: { shared.log.warning("map: \($0)") }
            )
            return (follower, try await follower.firstMap())
        }
        shared.log.notice("map loaded", metadata: ["generation": "\(map.generation)"])
        let databases = loops.map { Database(loop: $0, map: map, settings: databaseSettings) }
        let budget = ConnectionBudget(loops: loops.count, settings: databaseSettings)
        try await check(databases[0], budget)

        let pools = try await pools(etcd)
        for (loop, database) in zip(loops, databases) {
            let part = try await onLoop(loop) { [shared] in
                NodeLoop(loop: loop, shared: shared, database: database, pools: pools)
            }
            running.withLock { $0.loops.append(part) }
        }
        let identity = NodeIdentity(role: Self.name, schemas: NodeServices.schemaNumbers)
        let caches = running.withLock { $0.loops.map(\.cache) }
        try await onLoop(loops[0]) {
            follower.follow(databases, as: identity)
            pools.follow(caches)
        }
        running.withLock { running in
            running.follower = follower
            running.pools = pools
        }
        // Every loop is complete before the first connection is taken.
        for part in running.withLock({ $0.loops }) {
            try await onLoop(part.loop) { [settings] in
                try part.listen(address: settings.address, port: settings.port)
            }
        }
        let address = "\(settings.address):\(settings.port)"
        let names = settings.services.map(\.rawValue).sorted().joined(separator: ", ")
        shared.log.notice("serving", metadata: ["address": "\(address)", "services": "\(names)"])
    }

    private func pools(_ etcd: EtcdSettings) async throws -> PoolFollower {
        try await onLoop(loops[0]) { [loops, settings, shared] in
            let pools = PoolFollower(
                loop: loops[0],
                etcd: etcd,
                copies: settings.values.text("map.cache_file"),
                drawn: settings.cachePools,
                settings: CacheSettings(settings.values),
                report: { shared.log.warning("cache pools: \($0)") }
            )
            await pools.begin()
            return pools
        }
    }

    /// Refuses to serve what could not be served right: a schema that is too old, a shard without room.
    private func check(_ database: Database, _ budget: ConnectionBudget) async throws {
        let checks = ShardChecks(database: database, schemas: NodeServices.schemas)
        let watch = try await onLoop(database.loop) { [shared] in
            let silent = try await checks.checkSchemas()
            try await database.check(budget)
            for shard in silent {
                shared.log.error("shard does not answer", metadata: ["shard": "\(shard)"])
            }
            let watch = ShardWatch(
                checks: checks,
                health: shared.health,
                metrics: shared.metrics,
                log: shared.log,
                unchecked: silent
            )
            await watch.start()
            return watch
        }
        running.withLock { $0.watch = watch }
    }

    // MARK: End

    /// First the balancer is told, then the port closes, then what is under way ends.
    func drain() async {
        health.startDraining()
        usleep(UInt32(settings.values.integer("drain.notice_milliseconds")) * 1_000)
        let deadline = Duration.seconds(settings.values.integer("drain.seconds"))
        let parts = running.withLock { $0 }
        // Nothing in an end throws; there would be nobody left to tell.
        if let first = parts.loops.first {
            try? await onLoop(first.loop) {
                parts.watch?.stop()
                parts.follower?.stop()
                parts.pools?.stop()
            }
        }
        await withTaskGroup(of: Void.self) { group in
            for part in parts.loops {
                group.addTask {
                    // As above.
                    try? await onLoop(part.loop) { await part.drain(deadline: deadline) }
                }
            }
        }
    }
}
