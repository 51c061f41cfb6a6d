import EventLoops

/// One request, on the loop of its connection.
///
/// Handlers run on that loop across every `await` (see `EventLoop`); a request must not be handed to
/// another thread. Strings are made when they are first asked for.
package final class Request: @unchecked Sendable {
    // @unchecked: touched on `loop` only.
    package let loop: EventLoop
    package let body: RequestBody

    /// What the router found in the path: `/accounts/:id` gives `parameters["id"]`.
    package var parameters = PathParameters()

    /// The pattern of the matched route, for metrics; nil before routing and when nothing matched.
    package var route: String?

    /// A number that the matched handler leaves for whoever is told that the request has finished.
    package var operation: Int?

    let head: RequestHead
    let madeID: RequestID
    private let spanID: UInt64
    private let connection: (any RequestOrigin)?

    package init(
        _ method: Method,
        _ target: String,
        headers: Headers = [:],
        body: RequestBody = RequestBody(bytes: []),
        loop: EventLoop
    ) {
        self.loop = loop
        self.body = body
        head = RequestHead(method: method, target: target, headers: headers)
        var names = NameGenerator()
        madeID = names.nextID()
        spanID = names.next()
        connection = nil
    }

    init(
        head: consuming RequestHead,
        body: RequestBody,
        id: RequestID,
        spanID: UInt64,
        connection: any RequestOrigin,
        loop: EventLoop
    ) {
        self.head = head
        self.body = body
        self.loop = loop
        self.connection = connection
        self.spanID = spanID
        madeID = id
    }

    package var method: Method { head.method }

    /// The path with its query, as sent.
    package private(set) lazy var target = head.string(head.target)

    /// The path as sent, still percent-encoded, without the query.
    package private(set) lazy var path = head.string(head.target.lowerBound..<head.pathEnd)

    package var hasQuery: Bool { head.pathEnd < head.target.upperBound }

    package private(set) lazy var query = Query(
        parsing: head.pathEnd < head.target.upperBound
            ? head.string(head.pathEnd + 1..<head.target.upperBound) : ""
    )

    /// The first value of this header; names are compared without regard to case.
    package func header(_ name: String) -> String? { head.header(name) }

    /// Whether the first value of this header is exactly these bytes; no text is made of it.
    package func header(_ name: StaticString, isExactly value: UnsafeBufferPointer<UInt8>) -> Bool {
        head.withHeader(name) { $0?.elementsAre(value) ?? false }
    }

    /// Whether this header was sent.
    package func hasHeader(_ name: StaticString) -> Bool { head.withHeader(name) { $0 != nil } }

    /// The token of `Authorization: Bearer …`, where it is written as nearly everybody does.
    package var plainBearer: String? {
        head.withHeader("Authorization") { value in
            guard let value, value.count > 7,
                UnsafeBufferPointer(rebasing: value[..<7]).equals("Bearer "),
                !value[7...].contains(0x20)
            else { return nil }
            return UnsafeBufferPointer(rebasing: value[7...]).string
        }
    }

    /// Whether the path with its query, as sent, is exactly these bytes.
    package func isTarget(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        head.bytes.withUnsafeBufferPointer {
            UnsafeBufferPointer(rebasing: $0[head.target]).elementsAre(bytes)
        }
    }

    package var headers: Headers {
        var headers = Headers()
        for slot in head.slots {
            headers.add(
                head.string(Int(slot.nameStart)..<Int(slot.nameEnd)),
                head.value(slot)
            )
        }
        return headers
    }

    /// `X-Request-Id` as sent, if it is 1 to 64 plain characters; else 32 random hexadecimal digits.
    ///
    /// Every answer carries it.
    package private(set) lazy var id: String =
        head.requestID.map { head.value($0) } ?? madeID.description

    /// The W3C trace context for what this request causes: the client's trace, or a new one, and a span
    /// of this request.
    package private(set) lazy var traceparent: String = {
        let span = String(unsafeUninitializedCapacity: 16) { buffer in
            RequestID.write(spanID, to: buffer.baseAddress!)
            return 16
        }
        guard let slot = head.traceparent else { return "00-\(madeID.description)-\(span)-01" }
        let start = Int(slot.valueStart)
        return
            "00-\(head.string(start + 3..<start + 35))-\(span)-\(head.string(start + 53..<start + 55))"
    }()

    /// The client's address; behind a trusted balancer, the one that it saw.
    package private(set) lazy var remoteAddress: String = {
        if connection?.trustsForwarded ?? false, let forwarded = header("X-Forwarded-For"),
            let last = forwarded.split(separator: ",").last
        {
            return String(last.drop { $0 == " " })
        }
        return connection?.peerAddress ?? ""
    }()

    /// `https` or `http`, as the balancer saw it.
    package var scheme: String {
        guard connection?.trustsForwarded ?? false else { return "http" }
        return header("X-Forwarded-Proto") == "https" ? "https" : "http"
    }

    /// Whether the client has gone, so that an answer would reach nobody.
    package var isClosed: Bool { connection?.isClosed ?? false }
}

/// What a request asks of the connection that it came by.
protocol RequestOrigin: AnyObject {
    var isClosed: Bool { get }
    var peerAddress: String { get }
    var trustsForwarded: Bool { get }
}
