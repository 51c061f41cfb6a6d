import Database
import EventLoops
import HTTP
import Logging
import Metrics
import Objects
import Sharding
import Synchronization

/// The process: one ``WorkerLoop`` per event loop, the map they follow, the metrics port.
final class WorkerProcess: Sendable {
    /// How long a worker waits before it asks again for a map that nobody could give it.
    private static let mapPause = Duration.seconds(1)

    private struct State: Sendable {
        var parts: [WorkerLoop] = []
        var follower: MapFollower?
        var metricsServer: HTTPServer?
        var isDraining = false
    }

    private let settings: WorkerSettings
    private let loops: [EventLoop]
    private let metrics: MetricsRegistry
    private let log: Logger
    private let state = Mutex(State())

    init(settings: WorkerSettings, loops: [EventLoop], metrics: MetricsRegistry, log: Logger) {
        self.settings = settings
        self.loops = loops
        self.metrics = metrics
        self.log = log
    }

    private var isDraining: Bool { state.withLock { $0.isDraining } }

    func begin() {
        loops[0].spawn {
            do {
                try await self.startMetrics()
                try await self.start()
            } catch {
                // The supervisor starts the process again; it says why and how often.
                self.log.critical("cannot start", metadata: ["error": "\(error)"])
            }
        }
    }

    private func start() async throws {
        let log = self.log
        let follower = MapFollower(loop: loops[0], etcd: settings.etcd, copy: settings.mapCopy) {
            log.notice("map", metadata: ["trouble": "\($0)"])
        }
        guard let map = try await firstMap(follower) else { return }
        let objects = try objectStore()
        var parts: [WorkerLoop] = []
        for (index, loop) in loops.enumerated() {
            let share = (index: index, of: loops.count)
            let part = try await onLoop(loop) { [settings, metrics, log] in
                try WorkerLoop(
                    loop: loop,
                    share: share,
                    map: map,
                    settings: settings,
                    objects: objects,
                    metrics: metrics,
                    log: log
                )
            }
            parts.append(part)
        }
        follower.follow(parts.map(\.database))
        let began = state.withLock { state in
            state.follower = follower
            state.parts = parts
            return !state.isDraining
        }
        guard began else { return }
        for part in parts { try await onLoop(part.loop) { part.start() } }
        log.notice("working", metadata: ["shards": "\(map.shards.count)"])
    }

    /// Nil when the worker is told to stop first.
    private func firstMap(_ follower: MapFollower) async throws -> ShardMap? {
        while !isDraining {
            do {
                return try await follower.firstMap()
            } catch {
                log.warning("no map yet", metadata: ["error": "\(error)"])
                try await loops[0].sleep(for: Self.mapPause)
            }
        }
        return nil
    }

    private func objectStore() throws -> DirectoryStore? {
        guard !settings.objects.isEmpty else { return nil }
        let files = Offload(threads: 2, queueLimit: 256, name: "files")
        return try DirectoryStore(root: settings.objects, offload: files)
    }

    private func startMetrics() async throws {
        guard settings.metricsPort > 0 else { return }
        let server = HTTPServer(loop: loops[0]) { [metrics] request in
            guard request.path == "/metrics" else {
                return .text("/metrics is here.\n", status: 404)
            }
            return Response(
                contentType: "text/plain; version=0.0.4; charset=utf-8",
                Array(metrics.render().utf8)
            )
        }
        _ = try server.listen(address: settings.metricsAddress, port: settings.metricsPort)
        state.withLock { $0.metricsServer = server }
    }

    /// Nothing new is claimed, what runs ends and is settled, then connections close.
    func drain() async {
        let (parts, follower, server) = state.withLock { state in
            state.isDraining = true
            return (state.parts, state.follower, state.metricsServer)
        }
        let deadline = settings.drain
        await withTaskGroup(of: Void.self) { group in
            for part in parts {
                group.addTask {
                    // A drain does not throw; there is nothing to lose here.
                    try? await onLoop(part.loop) { await part.drain(deadline: deadline) }
                }
            }
        }
        // As above.
        try? await onLoop(loops[0]) {
            follower?.stop()
            await server?.drain(deadline: .milliseconds(100))
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
