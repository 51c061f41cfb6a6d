import Contracts
import EventLoops
import HTTP
import JSON
import Metrics

/// Calls one other service over HTTP: never longer than a deadline, and not at all while it does not answer.
///
/// One for each event loop and service. What a caller does without an answer is its own business, and stated in
/// docs/architecture.md for each call that there is.
package final class ServiceCaller: @unchecked Sendable {
    // @unchecked: touched on `loop` only.

    /// An answer is held whole.
    private static let answerBytes = 1 << 20

    private let loop: EventLoop
    private let client: HTTPClient
    private let service: ServiceName
    private let address: String
    private let secret: PeerSecret
    private var breaker: CircuitBreaker
    private let calls: Calls

    /// How calls ended, and whether they are made.
    private struct Calls {
        let answered: Counter
        let failed: Counter
        let refused: Counter
        let isOpen: Gauge

        init(_ service: ServiceName, _ metrics: MetricsRegistry) {
            func count(_ outcome: String) -> Counter {
                metrics.counter(
                    "service_calls_total",
                    help: "Calls of this node to another service.",
                    labels: [("service", service.rawValue), ("outcome", outcome)]
                )
            }
            (answered, failed, refused) = (count("answered"), count("failed"), count("refused"))
            isOpen = metrics.gauge(
                "service_circuit_open",
                help: "Whether a service is not called because it did not answer.",
                labels: [("service", service.rawValue)]
            )
        }
    }

    /// `address` is `http://host:port` of whatever leads to the service's pool.
    package init(
        loop: EventLoop,
        service: ServiceName,
        address: String,
        secret: PeerSecret,
        limits: CircuitBreaker.Limits = .init(),
        metrics: MetricsRegistry
    ) {
        self.loop = loop
        client = HTTPClient(loop: loop)
        self.service = service
        self.address = address
        self.secret = secret
        breaker = CircuitBreaker(limits: limits)
        calls = Calls(service, metrics)
    }

    /// What the service answers to a request for `target`, within `limit`.
    ///
    /// Throws what the service refuses as its own refusal, and `unavailable` where it does not answer.
    package func call(
        _ method: HTTP.Method,
        _ target: String,
        body: [UInt8] = [],
        within limit: Duration,
        for traceparent: String?
    ) async throws -> JSONValue {
        loop.assertOnLoop()
        let now = loop.milliseconds
        guard let permit = breaker.permit(at: now) else {
            calls.refused.add()
            throw unavailable(nil)
        }
        do {
            let deadline = CallDeadline(limit, from: now)
            let answer = try await exchange(method, target, body, traceparent, deadline)
            breaker.succeeded(permit)
            calls.answered.add()
            calls.isOpen.set(0)
            return try answer.get()
        } catch let refusal as ServiceError {
            throw refusal
        } catch {
            if error as? HTTPClientError == .cancelled || error is CancellationError {
                breaker.abandoned(permit, at: loop.milliseconds)
                throw error
            }
            breaker.failed(permit, at: loop.milliseconds)
            calls.failed.add()
            calls.isOpen.set(breaker.isClosed ? 0 : 1)
            throw unavailable(error)
        }
    }

    private func unavailable(_ cause: (any Error)?) -> ServiceError {
        .unavailable("\(service.title) is unavailable for a moment.", cause: cause)
    }

    /// A refusal is an answer like any other; throws where there is none.
    private func exchange(
        _ method: HTTP.Method,
        _ target: String,
        _ body: [UInt8],
        _ traceparent: String?,
        _ deadline: CallDeadline
    ) async throws -> Result<JSONValue, ServiceError> {
        var headers: Headers = [PeerSecret.header: secret.text]
        if !body.isEmpty { headers["Content-Type"] = "application/octet-stream" }
        headers["traceparent"] = traceparent
        let request = ClientRequest(method, url: address + target, headers: headers, body: body)
        guard let request else { throw HTTPClientError.malformed("the address \(address)") }
        guard let time = deadline.left(at: loop.milliseconds) else { throw HTTPClientError.timeout }
        let response = try await client.send(request, timeout: time)
        guard response.status.code < 500 else {
            response.discard()
            throw NoAnswer(status: response.status.code)
        }
        let bytes = try await collect(response, deadline)
        let json = try JSONReader.parse(bytes)
        guard response.status.code >= 400 else { return .success(json) }
        return .failure(ServiceError(refusal: json, status: response.status))
    }

    private func collect(
        _ response: ClientResponse,
        _ deadline: CallDeadline
    ) async throws -> [UInt8] {
        guard let time = deadline.left(at: loop.milliseconds) else {
            response.discard()
            throw HTTPClientError.timeout
        }
        let timer = loop.after(time) { response.discard() }
        defer { timer.cancel() }
        return try await response.body.collect(upTo: Self.answerBytes)
    }

    /// The service, or the balancer in its place, says that it cannot.
    private struct NoAnswer: Error {
        let status: Int
    }
}

extension ServiceError {
    /// The refusal of another node, from its error document.
    fileprivate init(refusal json: JSONValue, status: Status) {
        self.init(
            json["code"]?.string.flatMap(Code.init(rawValue:)) ?? Code(status: status),
            json["error"]?.string ?? status.reason
        )
    }
}
