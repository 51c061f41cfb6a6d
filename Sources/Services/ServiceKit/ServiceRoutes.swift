import Contracts
import HTTP
import JSON

/// Which service declares which endpoints: what a node serves, and what the balancer sends where.
package struct ServiceRoutes: Sendable {
    private let parts: [(service: ServiceName, endpoints: [Endpoint])]

    package init(_ endpoints: [ServiceName: [Endpoint]]) {
        parts = ServiceName.allCases.map { ($0, endpoints[$0] ?? []) }
    }

    /// Those of all services, for the description of the API.
    package var all: [Endpoint] { parts.flatMap { $0.endpoints } }

    /// What a node answers that runs these services: of the others it says that it does not.
    ///
    /// The balancer tries such an answer with another node, so that a service may move between pools while it is used.
    package func served(by running: Set<ServiceName>) -> [Endpoint] {
        parts.flatMap { part in
            running.contains(part.service)
                ? part.endpoints : part.endpoints.map { $0.elsewhere(part.service) }
        }
    }
}

extension ServiceRoutes: JSONEncodable {
    /// `[{"service": "media", "streams": false, "paths": ["/api/v1/media/:id"]}]`
    package func write(to json: inout JSONWriter) {
        json.array { json in
            for part in parts {
                json.object { json in
                    json.field("service", part.service.rawValue)
                    json.field("title", part.service.title)
                    json.field("streams", part.service.streams)
                    json.field("paths", Set(part.endpoints.map(\.path)).sorted())
                }
            }
        }
    }
}

extension Endpoint {
    /// The same path and method on a node that does not run its service.
    func elsewhere(_ service: ServiceName) -> Endpoint {
        Endpoint(
            method,
            path,
            operationID: operationID,
            summary: summary,
            tag: tag,
            access: .open,
            body: .raw(limit: body.limit),
            output: output,
            isAction: false
        ) { _ in
            throw ServiceError.unavailable("\(service.title) is not on this node.")
        }
    }
}
