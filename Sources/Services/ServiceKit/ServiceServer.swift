import Contracts
import EventLoops
import HTTP
import Logging
import Metrics

/// All endpoints of one loop behind one HTTP handler: routes, tokens, scopes, input, errors and headers.
///
/// Errors of every kind leave here as documents; what a stranger is not told goes to the log.
package final class ServiceServer: @unchecked Sendable {
    // @unchecked: built and used on one loop; nothing changes after `init` but the instruments.

    package let endpoints: [Endpoint]

    private let router: Router
    private let sessions: any SessionsClient
    private let publicURL: String
    private let telemetry: ServiceTelemetry
    private let log: Logger

    /// `acted` is told of each user who may have changed something, before that is answered.
    package init(
        endpoints: [Endpoint],
        sessions: any SessionsClient,
        publicURL: String,
        metrics: MetricsRegistry,
        log: Logger,
        access: AccessLog? = nil,
        peers: PeerSecret? = nil,
        acted: (@Sendable (UserID) async -> Void)? = nil
    ) {
        self.endpoints = endpoints
        self.sessions = sessions
        self.publicURL = publicURL
        self.log = log
        telemetry = ServiceTelemetry(endpoints, metrics: metrics, access: access)
        var router = Router()
        let gate = Gate(sessions: sessions, publicURL: publicURL, peers: peers, acted: acted)
        for (index, endpoint) in endpoints.enumerated() {
            router.add(endpoint.method, endpoint.path, bodyLimit: endpoint.body.limit) { request in
                request.operation = index
                if let call = try gate.admitNow(request, to: endpoint) {
                    return try await endpoint.handler(call)
                }
                return try await gate.answer(request, to: endpoint)
            }
        }
        self.router = router
    }

    /// Answers any request; throws only what the server answers itself, such as a client that has gone.
    package func handle(_ request: Request) async throws -> Response {
        var response: Response
        do {
            let handler = try router.route(request)
            response = try await counted(request, handler)
            if request.method == .options { CrossOrigin.allowEverything(on: &response) }
        } catch {
            if let error = error as? HTTPError, error == .clientClosed { throw error }
            response = failure(error, request)
        }
        CommonHeaders.add(to: &response)
        return response
    }

    /// Answers, and says in a header what that took where the request asks for it.
    private func counted(_ request: Request, _ handler: Handler) async throws -> Response {
        guard request.hasHeader("Tessera-Debug"), request.header("Tessera-Debug") == "1" else {
            return try await handler(request)
        }
        let cost = RequestCost()
        var response = try await RequestCost.$current.withValue(cost) {
            try await handler(request)
        }
        response.headers["Tessera-Cost"] = cost.text
        return response
    }

    /// What the HTTP server calls: errors that it finds itself look like ours, and every answer is counted.
    package var hooks: HTTPHooks {
        var hooks = HTTPHooks()
        hooks.errorResponse = { error, request in
            var response = ErrorDocument.response(for: error, traceID: request?.id)
            CommonHeaders.add(to: &response)
            return response
        }
        hooks.finished = { [telemetry] request, status, duration in
            telemetry.finished(request, status, duration)
        }
        hooks.failed = { [log] error, request in
            log.error("request failed", metadata: Self.metadata(request, error))
        }
        return hooks
    }

    private func failure(_ error: any Error, _ request: Request) -> Response {
        switch error {
        case let error as HTTPError:
            return ErrorDocument.response(for: error, traceID: request.id)
        case let error as ServiceError:
            if error.code == .internal {
                log.error("request failed", metadata: Self.metadata(request, error.cause ?? error))
            } else if let cause = error.cause {
                log.notice("request refused", metadata: Self.metadata(request, cause))
            }
            return ErrorDocument.response(for: error, traceID: request.id)
        case is CancellationError:
            return ErrorDocument.response(
                for: .unavailable("The answer took too long.", cause: error),
                traceID: request.id
            )
        case is Offload.Full:
            return ErrorDocument.response(
                for: .unavailable("The server has too much to do for a moment.", cause: error),
                traceID: request.id
            )
        default:
            if let known = ServiceError(failure: error) {
                log.notice("request failed", metadata: Self.metadata(request, error))
                return ErrorDocument.response(for: known, traceID: request.id)
            }
            log.error("request failed", metadata: Self.metadata(request, error))
            return ErrorDocument.response(
                for: ServiceError(.internal, "The server failed to answer this request."),
                traceID: request.id
            )
        }
    }

    private static func metadata(_ request: Request, _ error: any Error) -> Logger.Metadata {
        [
            "request_id": .string(request.id),
            "method": .string(request.method.rawValue),
            "path": .string(request.path),
            "error": .string("\(error)"),
        ]
    }
}

/// The checks in front of every handler.
private struct Gate: Sendable {
    let sessions: any SessionsClient
    let publicURL: String
    /// Without it no other node is believed.
    let peers: PeerSecret?
    let acted: (@Sendable (UserID) async -> Void)?

    /// Admits what needs no waiting: a request without a body, whose token is known already if it needs one.
    func admitNow(_ request: Request, to endpoint: Endpoint) throws(ServiceError) -> Call? {
        guard request.body.declaredLength == 0 else { return nil }
        var authentication: Authentication?
        if endpoint.access != .open {
            // Another node shows something else than a token.
            guard endpoint.access != .peer, !endpoint.isAction, let token = request.plainBearer,
                let held = sessions.held(token)
            else { return nil }
            try Self.check(held, for: endpoint.access)
            authentication = held
        }
        return Call(
            request: request,
            authentication: authentication,
            input: try InputReader.readQuery(request),
            publicURL: publicURL
        )
    }

    /// Admits whatever else there is, and has it answered.
    ///
    /// Not inlined: what it keeps over its waits would take room in the task of each plain request.
    @inline(never)
    func answer(_ request: Request, to endpoint: Endpoint) async throws -> Response {
        let authentication = try await authenticate(request, for: endpoint.access)
        let input = try await InputReader.read(request, body: endpoint.body)
        let call = Call(
            request: request,
            authentication: authentication,
            input: input,
            publicURL: publicURL
        )
        guard endpoint.isAction, let acted, let user = call.viewer else {
            return try await endpoint.handler(call)
        }
        do {
            let response = try await endpoint.handler(call)
            await acted(user)
            return response
        } catch {
            // What failed may have changed something all the same.
            await acted(user)
            throw error
        }
    }

    private func authenticate(
        _ request: Request,
        for access: Endpoint.Access
    ) async throws -> Authentication? {
        guard access != .open else { return nil }
        if access == .peer {
            guard peers?.isKnown(request.header(PeerSecret.header)) == true else {
                throw HTTPError(404, "There is nothing at this path.")
            }
            return nil
        }
        guard let header = request.header("Authorization") else {
            guard access == .optionalUser else { throw ServiceError.unauthorized }
            return nil
        }
        guard let token = request.plainBearer ?? Self.bearer(header),
            let valid = try await sessions.verify(token)
        else {
            throw ServiceError.unauthorized
        }
        try Self.check(valid, for: access)
        return valid
    }

    private static func check(
        _ valid: Authentication,
        for access: Endpoint.Access
    ) throws(ServiceError) {
        switch access {
        case .open, .optionalUser, .peer: break
        case .app(let scopes): try check(valid, covers: scopes)
        case .user(let scopes):
            guard valid.user != nil else {
                throw ServiceError(
                    .unprocessable,
                    "This method requires an authenticated user"
                )
            }
            try check(valid, covers: scopes)
        }
    }

    private static func check(
        _ authentication: Authentication,
        covers scopes: [String]
    ) throws(ServiceError) {
        guard scopes.isEmpty || scopes.contains(where: authentication.scopes.covers) else {
            throw .outsideScopes
        }
    }

    /// The token of `Bearer …`; the scheme is compared without case (RFC 9110, section 11.1).
    private static func bearer(_ header: String) -> String? {
        let parts = header.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: true)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else { return nil }
        return String(parts[1].drop { $0 == " " })
    }
}
