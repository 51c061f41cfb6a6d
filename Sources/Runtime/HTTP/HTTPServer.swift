import EventLoops

/// Where a server meets the rest of its process. All are called on the server's loop.
package struct HTTPHooks: Sendable {
    /// Renders an error that the server or the router found; the request is nil when its head was refused.
    package var errorResponse: @Sendable (HTTPError, Request?) -> Response = { error, _ in
        Response(
            status: error.status,
            headers: error.headers,
            body: .bytes(Array((error.detail + "\n").utf8))
        )
    }
    /// Called after each answered request.
    package var finished: (@Sendable (Request?, Status, Duration) -> Void)?
    /// Called with an error that a handler threw and that is not an ``HTTPError``.
    package var failed: (@Sendable (any Error, Request) -> Void)?

    package init() {}
}

/// An HTTP/1.1 server on one loop.
package final class HTTPServer: @unchecked Sendable {
    // @unchecked: touched on `loop` only.
    package let loop: EventLoop
    package let limits: HTTPLimits

    package init(
        loop: EventLoop,
        limits: HTTPLimits = HTTPLimits(),
        hooks: HTTPHooks = HTTPHooks(),
        trustsForwarded: Bool = false,
        handler: @escaping Handler
    ) {
        self.loop = loop
        self.limits = limits
    }

    /// Listens on an address of its own socket; several loops may share one port.
    package func listen(address: String, port: Int) throws(ListenError) -> Int { 0 }

    /// Accepts connections of a bound, listening socket, which the server then owns.
    package func listen(descriptor: Int32) throws(ListenError) {}

    /// Finishes what is under way, refuses what is new, and returns when all connections have closed.
    ///
    /// Answers carry `Connection: close`. After `deadline` what is left is cut.
    package func drain(deadline: Duration) async {}
}

/// Why a socket could not be listened on, such as an address in use.
package struct ListenError: Error, Sendable, CustomStringConvertible {
    package let description: String
}
