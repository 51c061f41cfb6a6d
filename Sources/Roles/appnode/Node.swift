import Database
import Etcd
import EventLoops
import Glibc
import HTTP
import Logging
import Logs
import Metrics
import Settings
import Sharding
import Synchronization

/// The process: one ``NodeLoop`` per event loop, the map that they follow, and the order of start and end.
final class Node: Sendable {
    private let settings: AppNodeSettings
    private let shared: NodeParts
    private let health: NodeHealth
    private let running = Mutex(Running())

    private struct Running {
        var loops: [NodeLoop] = []
        var follower: MapFollower?
        var watch: ShardWatch?
        var metricsServer: HTTPServer?
    }

    init(settings: AppNodeSettings, metrics: MetricsRegistry, sink: LogSink, log: Logger) throws {
        self.settings = settings
        health = NodeHealth()
        shared = try NodeParts(
            settings: settings,
            metrics: metrics,
            sink: sink,
            log: log,
            health: health
        )
    }

    // MARK: Start

    func start(on loops: [EventLoop]) async throws {
        let databaseSettings = try settings.database
        let etcd = try settings.etcd
        let (follower, map) = try await onLoop(loops[0]) { [settings, shared] in
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

        for (loop, database) in zip(loops, databases) {
            let part = try await onLoop(loop) { [shared] in
                NodeLoop(loop: loop, shared: shared, database: database)
            }
            running.withLock { $0.loops.append(part) }
        }
        try await onLoop(loops[0]) { follower.follow(databases) }
        running.withLock { $0.follower = follower }
        try await startMetrics(on: loops[0])
        // Every loop is complete before the first connection is taken.
        for part in running.withLock({ $0.loops }) {
            try await onLoop(part.loop) { [settings] in
                try part.listen(address: settings.address, port: settings.port)
            }
        }
    }

    /// Refuses to serve what could not be served right: a schema that is too old, a shard without room.
    private func check(_ database: Database, _ budget: ConnectionBudget) async throws {
        let checks = ShardChecks(database: database, schemas: NodeLoop.schemas)
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

    private func startMetrics(on loop: EventLoop) async throws {
        guard settings.metricsPort > 0 else { return }
        let server = try await onLoop(loop) { [settings, shared] in
            let server = HTTPServer(loop: loop) { request in
                guard request.path == "/metrics" else {
                    return .text("/metrics is here.\n", status: 404)
                }
                return Response(
                    contentType: "text/plain; version=0.0.4; charset=utf-8",
                    Array(shared.metrics.render().utf8)
                )
            }
            _ = try server.listen(address: settings.metricsAddress, port: settings.metricsPort)
            return server
        }
        running.withLock { $0.metricsServer = server }
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
        if let server = parts.metricsServer {
            // As above.
            try? await onLoop(server.loop) { await server.drain(deadline: .milliseconds(100)) }
        }
    }
}

/// Runs `body` on a loop and waits for it from elsewhere.
func onLoop<T: Sendable>(
    _ loop: EventLoop,
    _ body: @escaping @Sendable () async throws -> T
) async throws -> T {
    try await withCheckedThrowingContinuation { continuation in
        loop.spawn {
            do {
                continuation.resume(returning: try await body())
            } catch {
                continuation.resume(throwing: error)
            }
        }
    }
}
