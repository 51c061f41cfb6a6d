import Contracts
import EventLoops
import HTTP
import Instance
import JSON
import Logging
import Logs
import Metrics
import ServiceKit
import Settings

/// Everything that one event loop has for itself: its services, their clients and its server.
final class NodeLoop: @unchecked Sendable {
    // @unchecked: built and used on `loop` only.
    let loop: EventLoop
    private let server: HTTPServer

    init(
        loop: EventLoop,
        settings: AppNodeSettings,
        metrics: MetricsRegistry,
        sink: LogSink,
        log: Logger,
        health: NodeHealth
    ) async throws {
        self.loop = loop
        let instance = InstanceService(
            instance: InstanceEntity(
                domain: settings.domain,
                baseURL: settings.publicURL,
                openSignUp: settings.values.flag("accounts.open_signup"),
                limits: InstanceEntity.Limits(
                    mediaTypes: ["image/jpeg", "image/png", "image/webp", "image/gif"],
                    imageBytes: 16 << 20,
                    imagePixels: 50_000_000
                )
            ),
            figures: { InstanceService.Figures(users: 0, statuses: 0) }
        )
        let services = ServiceServer(
            endpoints: instance.endpoints + HealthEndpoints(health: health).endpoints,
            sessions: NoSessions(),
            publicURL: settings.publicURL,
            metrics: metrics,
            log: log,
            access: settings.values.flag("log.access") ? AccessLog(sink: sink) : nil
        )
        var limits = HTTPLimits()
        limits.requestTimeout = .seconds(settings.values.integer("http.request_seconds"))
        limits.connections = settings.values.integer("http.connections")
        server = HTTPServer(
            loop: loop,
            limits: limits,
            hooks: services.hooks,
            trustsForwarded: settings.values.flag("http.trust_forwarded"),
            handler: settings.values.flag("test.failpoints")
                ? AnswerFailpoint.wrap(services.handle) : services.handle
        )
    }

    func listen(address: String, port: Int) throws {
        _ = try server.listen(address: address, port: port)
    }

    func drain(deadline: Duration) async {
        await server.drain(deadline: deadline)
    }
}

/// Refuses every token.
private struct NoSessions: SessionsClient {
    func verify(_ token: String) async throws -> Authentication? { nil }
}
