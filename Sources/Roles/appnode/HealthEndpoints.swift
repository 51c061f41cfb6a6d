import HTTP
import JSON
import ServiceKit

/// What the balancer asks.
struct HealthEndpoints: Sendable {
    let health: NodeHealth

    var endpoints: [Endpoint] {
        [
            Endpoint(
                .get,
                "/livez",
                operationID: "getLiveness",
                summary: "Whether the process answers at all.",
                tag: "health",
                access: .open,
                output: .content("text/plain")
            ) { _ in .text("ok\n") },
            Endpoint(
                .get,
                "/readyz",
                operationID: "getReadiness",
                summary: "Whether this node wants requests.",
                tag: "health",
                access: .open,
                output: .content("text/plain")
            ) { _ in
                guard !health.isDraining else { throw ServiceError.unavailable("draining") }
                guard health.isReady else { throw ServiceError.unavailable("no shard answers") }
                return .text("ok\n")
            },
        ]
    }
}
