import EventLoops
import Glibc
import HTTP
import Logging
import Logs
import Metrics
import Settings
import Synchronization

/// The process: one ``NodeLoop`` per event loop, the metrics port, and the order of starting and ending.
final class Node: Sendable {
    private let settings: AppNodeSettings
    private let metrics: MetricsRegistry
    private let sink: LogSink
    private let log: Logger
    private let health = NodeHealth()
    private let parts = Mutex<[NodeLoop]>([])
    private let metricsServer = Mutex<HTTPServer?>(nil)

    init(settings: AppNodeSettings, metrics: MetricsRegistry, sink: LogSink, log: Logger) {
        self.settings = settings
        self.metrics = metrics
        self.sink = sink
        self.log = log
    }

    func start(on loops: [EventLoop]) async throws {
        for loop in loops {
            let part = try await onLoop(loop) { [settings, metrics, sink, log, health] in
                try await NodeLoop(
                    loop: loop,
                    settings: settings,
                    metrics: metrics,
                    sink: sink,
                    log: log,
                    health: health
                )
            }
            parts.withLock { $0.append(part) }
        }
        try await startMetrics(on: loops[0])
        // Every loop is complete before the first connection is taken.
        for part in parts.withLock({ $0 }) {
            try await onLoop(part.loop) { [settings] in
                try part.listen(address: settings.address, port: settings.port)
            }
        }
    }

    private func startMetrics(on loop: EventLoop) async throws {
        guard settings.metricsPort > 0 else { return }
        let server = try await onLoop(loop) { [settings, metrics] in
            let server = HTTPServer(loop: loop) { request in
                guard request.path == "/metrics" else {
                    return .text("/metrics is here.\n", status: 404)
                }
                return Response(
                    contentType: "text/plain; version=0.0.4; charset=utf-8",
                    Array(metrics.render().utf8)
                )
            }
            _ = try server.listen(address: settings.metricsAddress, port: settings.metricsPort)
            return server
        }
        metricsServer.withLock { $0 = server }
    }

    /// First the balancer is told, then the port closes, then what is under way ends.
    func drain() async {
        health.startDraining()
        usleep(UInt32(settings.values.integer("drain.notice_milliseconds")) * 1_000)
        let deadline = Duration.seconds(settings.values.integer("drain.seconds"))
        await withTaskGroup(of: Void.self) { group in
            for part in parts.withLock({ $0 }) {
                group.addTask {
                    // A drain does not throw; there is nothing to lose here.
                    try? await onLoop(part.loop) { await part.drain(deadline: deadline) }
                }
            }
        }
        if let server = metricsServer.withLock({ $0 }) {
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

/// Whether this node wants requests.
final class NodeHealth: Sendable {
    private let draining = Atomic<Bool>(false)

    var isDraining: Bool { draining.load(ordering: .relaxed) }

    func startDraining() { draining.store(true, ordering: .relaxed) }
}
