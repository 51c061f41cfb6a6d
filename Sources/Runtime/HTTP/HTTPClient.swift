import EventLoops

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
///
/// Called by tasks of its loop only. It closes its connections when the loop stops.
package final class HTTPClient: @unchecked Sendable {
    // @unchecked: touched on `loop` only.
    package let loop: EventLoop
    package let limits: HTTPClientLimits

    private var pools: [Endpoint: ClientPool] = [:]
    private var closesWithLoop = false
    let output = OutputBuffer(capacity: 4_096)

    struct Endpoint: Hashable {
        let host: String
        let port: Int
    }

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
        loop.assertOnLoop()
        if let fault = request.fault { throw .malformed(fault) }
        closeWithLoop()
        let exchange = ClientExchange(request)
        let pool = pool(for: Endpoint(host: request.host, port: request.port))
        let timer = loop.after(timeout) { exchange.fail(.timeout) }
        defer { timer.cancel() }
        let result = await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in
                exchange.continuation = continuation
                pool.start(exchange)
            }
        } onCancel: {
            loop.execute { exchange.fail(.cancelled) }
        }
        return try result.get()
    }

    /// Fails what is under way and closes all connections.
    package func close() {
        loop.assertOnLoop()
        for pool in pools.values { pool.close() }
        pools = [:]
    }

    private func closeWithLoop() {
        guard !closesWithLoop else { return }
        closesWithLoop = true
        loop.onStop { self.close() }
    }

    private func pool(for endpoint: Endpoint) -> ClientPool {
        if let pool = pools[endpoint] { return pool }
        let pool = ClientPool(client: self, endpoint: endpoint)
        pools[endpoint] = pool
        return pool
    }

    /// Called by a pool that has no connection and nothing to do.
    func forget(_ pool: ClientPool) {
        if pools[pool.endpoint] === pool { pools[pool.endpoint] = nil }
    }
}
