internal import EventLoops
import HTTP
internal import Metrics

/// Serves `/metrics` of one process, beside whatever else it does.
final class MetricsServer: @unchecked Sendable {
    // @unchecked: `server` is touched on `loop` only.
    /// How long a scrape that is under way may take at the end.
    private static let drainDeadline = Duration.milliseconds(100)

    private let metrics: MetricsRegistry
    private let loop: EventLoop
    private var server: HTTPServer?

    init(_ metrics: MetricsRegistry, on loop: EventLoop) {
        self.metrics = metrics
        self.loop = loop
    }

    /// Port 0 serves none.
    func listen(address: String, port: Int) async throws {
        guard port > 0 else { return }
        try await onLoop(loop) { [self] in
            let server = HTTPServer(loop: loop) { [metrics] request in
                guard request.path == "/metrics" else {
                    return .text("/metrics is here.\n", status: 404)
                }
                return Response(
                    contentType: "text/plain; version=0.0.4; charset=utf-8",
                    Array(metrics.render().utf8)
                )
            }
            _ = try server.listen(address: address, port: port)
            self.server = server
        }
    }

    func drain() async {
        // Nothing in it throws.
        try? await onLoop(loop) { [self] in await server?.drain(deadline: Self.drainDeadline) }
    }
}
