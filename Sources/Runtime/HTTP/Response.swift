/// The answer to one request.
///
/// The server adds `Content-Length` or chunked framing, `Date`, `Connection` and `X-Request-Id`; a handler
/// that sets one of the first two or `Transfer-Encoding` itself is ignored in that.
package struct Response: Sendable {
    package var status: Status
    package var headers: Headers
    package var body: ResponseBody
    /// Sent beside `headers`, where these do not say otherwise.
    package var defaults: HeaderDefaults?
    /// Sent beside both, as they are.
    package var lines: HeaderLines?

    package init(status: Status = 200, headers: Headers = [:], body: ResponseBody = .none) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    package init(status: Status = 200, contentType: String, _ bytes: [UInt8]) {
        let headers = Headers(trusted: "Content-Type", contentType)
        self.init(status: status, headers: headers, body: .bytes(bytes))
    }

    package static func text(_ text: String, status: Status = 200) -> Response {
        Response(status: status, contentType: "text/plain; charset=utf-8", Array(text.utf8))
    }
}

/// Header lines that were written once and are sent many times, such as those of a page that is kept.
///
/// None of them may be one that the answer has in another way, or that the server decides.
package struct HeaderLines: Sendable {
    let bytes: [UInt8]
    let range: Range<Int>

    /// A part of bytes that ``rendered(_:)`` has given; it is not copied.
    package init(_ bytes: [UInt8], _ range: Range<Int>) {
        self.bytes = bytes
        self.range = range
    }

    /// The lines of these headers, each with its end.
    package static func rendered(_ headers: Headers) -> [UInt8] {
        headers.fields.flatMap { Array("\($0.name): \($0.value)\r\n".utf8) }
    }
}

package enum ResponseBody: Sendable {
    case none
    case bytes([UInt8])
    /// A part of some bytes, which are not copied for it.
    case part([UInt8], Range<Int>)
    /// Written as it is made; without a length it is sent in chunks.
    ///
    /// A stream with a length must write exactly that many bytes: a shorter one closes the connection, and
    /// a longer one is cut. A stream that throws closes the connection, so that the client sees the break.
    case stream(length: Int?, @Sendable (ResponseWriter) async throws -> Void)
    /// The connection is a WebSocket from here on; see ``Response/webSocket(_:subprotocol:limits:begin:)``.
    case webSocket(WebSocketUpgrade)
}

/// Writes the body of a streaming response.
package final class ResponseWriter: @unchecked Sendable {
    // @unchecked: touched on its connection's loop only.
    private weak var sink: (any ResponseSink)?

    init(sink: any ResponseSink) { self.sink = sink }

    /// A writer that outlives its answer must not write into the next one.
    func end() { sink = nil }

    /// Whether the client has gone.
    package var isClosed: Bool { sink?.isClosed ?? true }

    /// Sends `bytes`, and waits while the client reads too slowly to take more.
    ///
    /// Throws ``HTTPError/clientClosed`` once the client is gone.
    package func write(_ bytes: [UInt8]) async throws(HTTPError) {
        guard let sink, !sink.isClosed else { throw .clientClosed }
        guard !bytes.isEmpty else { return }
        sink.writeBody(bytes)
        await sink.writable()
        if sink.isClosed { throw .clientClosed }
    }

    package func write(_ text: String) async throws(HTTPError) {
        try await write(Array(text.utf8))
    }
}

/// The connection behind a ``ResponseWriter``.
protocol ResponseSink: AnyObject {
    var isClosed: Bool { get }
    func writeBody(_ bytes: [UInt8])
    /// Returns once the queue of unsent bytes is short, or the connection has closed.
    func writable() async
}

/// Answers one request; runs on the request's loop.
package typealias Handler = @Sendable (Request) async throws -> Response
