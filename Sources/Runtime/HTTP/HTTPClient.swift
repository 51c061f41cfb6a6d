import EventLoops

/// A request to another server.
package struct ClientRequest: Sendable {
    package var method: Method
    package var host: String
    package var port: Int
    /// Path and query, percent-encoded.
    package var target: String
    package var headers: Headers
    package var body: [UInt8]

    package init(
        _ method: Method,
        host: String,
        port: Int,
        target: String,
        headers: Headers = [:],
        body: [UInt8] = []
    ) {
        self.method = method
        self.host = host
        self.port = port
        self.target = target
        self.headers = headers
        self.body = body
    }

    /// A request to `http://host[:port][/path]`; nil for any other address.
    package init?(
        _ method: Method,
        url: String,
        headers: Headers = [:],
        body: [UInt8] = []
    ) {
        guard url.hasPrefix("http://") else { return nil }
        let rest = url.dropFirst("http://".count)
        let slash = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        var authority = rest[..<slash]
        var port = 80
        if let colon = authority.lastIndex(of: ":"), !authority.hasSuffix("]") {
            guard let number = Int(authority[authority.index(after: colon)...]),
                (1...65_535).contains(number)
            else { return nil }
            port = number
            authority = authority[..<colon]
        }
        if authority.hasPrefix("["), authority.hasSuffix("]") {
            authority = authority.dropFirst().dropLast()
        }
        guard !authority.isEmpty else { return nil }
        let target = rest[slash...]
        self.init(
            method,
            host: String(authority),
            port: port,
            target: target.hasPrefix("/") ? String(target) : "/" + target,
            headers: headers,
            body: body
        )
    }
}

/// The answer of another server: its head, and a body that is still arriving.
///
/// A body that is not read to its end keeps its connection; call ``discard()`` to give it up.
package struct ClientResponse: Sendable {
    package let status: Status
    package let headers: Headers
    package let body: ClientBody

    /// Closes the connection unless the body has been read to its end.
    package func discard() {}
}

/// The body of an answer.
package typealias ClientBody = ByteStream<HTTPClientError>

package enum HTTPClientError: Error, Sendable, Equatable {
    /// No connection could be made; the request was not sent.
    case connect(String)
    /// The name has no address; the request was not sent.
    case resolve(String)
    /// The time was up.
    case timeout
    /// The connection closed before the answer was complete; the request may have been carried out.
    case closed
    /// The answer was not HTTP.
    case malformed(String)
    case bodyTooLarge(limit: Int)
    /// Too many requests wait for a connection to this host; the request was not sent.
    case overloaded
    case cancelled

    /// Whether the request surely had no effect.
    package var wasNotSent: Bool {
        switch self {
        case .connect, .resolve, .overloaded: true
        default: false
        }
    }
}

extension HTTPClientError: StreamFailure {
    package static func tooLarge(limit: Int) -> HTTPClientError { .bodyTooLarge(limit: limit) }
}

package struct HTTPClientLimits: Sendable {
    /// Connections to one host and port.
    package var connectionsPerHost = 8
    /// Requests that wait for one of these.
    package var waitingPerHost = 256
    package var connectTimeout = Duration.seconds(2)
    /// How long an unused connection is kept.
    package var idleTimeout = Duration.seconds(30)
    package var headBytes = 65_536
    /// Bytes of a body kept for a reader that does not read; then reading pauses.
    package var bodyBufferBytes = 262_144

    package init() {}
}

/// An HTTP/1.1 client on one loop, with a bounded pool of connections per host.
package final class HTTPClient: @unchecked Sendable {
    // @unchecked: touched on `loop` only.
    package let loop: EventLoop
    package let limits: HTTPClientLimits

    package init(loop: EventLoop, limits: HTTPClientLimits = HTTPClientLimits()) {
        self.loop = loop
        self.limits = limits
    }

    /// Sends a request and returns once the head of its answer has arrived, within `timeout`.
    ///
    /// The body has no deadline, so that an endless stream can be read; cancelling the task closes the
    /// connection. An idempotent request is sent once more, if a kept connection turned out to be closed.
    package func send(
        _ request: ClientRequest,
        timeout: Duration
    ) async throws(HTTPClientError) -> ClientResponse {
        throw .connect("not connected")
    }

    /// Closes all connections.
    package func close() {}
}
