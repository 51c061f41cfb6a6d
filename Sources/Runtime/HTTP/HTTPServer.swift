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
    /// Called after each answer, with the time since the head had arrived; the request is nil when its head
    /// was refused. Status 499 means that the client left before the answer.
    package var finished: (@Sendable (Request?, Status, Duration) -> Void)?
    /// Called with an error that a handler threw and that is not an ``HTTPError``.
    package var failed: (@Sendable (any Error, Request) -> Void)?

    package init() {}
}

/// Counters of one server since its start.
package struct HTTPServerStatistics: Sendable {
    package var accepted = 0
    /// Connections closed at once because too many were open.
    package var turnedAway = 0
    package var acceptErrors = 0
    package var requests = 0
    /// Requests whose head or body was refused.
    package var refused = 0
    /// Connections cut for being too slow, and requests that took too long.
    package var timeouts = 0
    /// Clients of WebSockets that were cut off for not reading.
    package var slowWebSockets = 0
    package var bytesIn = 0
    package var bytesOut = 0
}

/// What a server keeps for each client: a connection that brings requests, or a WebSocket that it has become.
protocol ServerConnection: AnyObject {
    /// Its place among the server's connections; negative while it is not among them.
    var index: Int { get set }
    /// Called about once a second.
    func checkTime(_ now: UInt64)
    func serverDrains()
    func closeIfIdle()
    func abort()
}

/// An HTTP/1.1 server on one loop.
///
/// It frames strictly, answers pipelined requests in order, bounds what each client may hold, and passes a
/// client's slowness on to whoever reads or writes its bodies. Touched on its loop only.
package final class HTTPServer: @unchecked Sendable {
    // @unchecked: touched on `loop` only.
    package let loop: EventLoop
    package let limits: HTTPLimits
    package private(set) var isDraining = false
    package internal(set) var statistics = HTTPServerStatistics()

    let hooks: HTTPHooks
    let handler: Handler
    let trustsForwarded: Bool
    let parser: HeadParser
    let noBody = RequestBody(bytes: [])
    var names = NameGenerator()
    var dateLine = DateLine()

    private var listeners: [TCPListener] = []
    private var connections: [any ServerConnection] = []
    private var spareOutput: OutputBuffer? = OutputBuffer()
    private var sweeper: LoopTimer?
    private var swept = 0
    private var emptied: UnsafeContinuation<Void, Never>?

    /// How often each connection's timeouts are looked at; timeouts end up to this much late.
    private let sweepPeriod: Duration
    private static let sweepSteps = 8

    /// Set `trustsForwarded` only behind a balancer that overwrites `X-Forwarded-For` and
    /// `X-Forwarded-Proto`: they then decide ``Request/remoteAddress`` and ``Request/scheme``.
    package init(
        loop: EventLoop,
        limits: HTTPLimits = HTTPLimits(),
        hooks: HTTPHooks = HTTPHooks(),
        trustsForwarded: Bool = false,
        handler: @escaping Handler
    ) {
        self.loop = loop
        self.limits = limits
        self.hooks = hooks
        self.trustsForwarded = trustsForwarded
        self.handler = handler
        parser = HeadParser(limits: limits)
        let shortest = min(
            limits.headTimeout,
            limits.idleTimeout,
            limits.requestTimeout,
            limits.rateWindow,
            limits.lingerTimeout
        )
        sweepPeriod = min(.seconds(1), max(.milliseconds(40), shortest / 4))
    }

    // MARK: Listening

    /// Listens on an address with a socket of its own, and returns the port; several loops, each with its
    /// own server, may share one port.
    @discardableResult
    package func listen(address: String, port: Int) throws(ListenError) -> Int {
        try listen(descriptor: try TCPListener.open(address: address, port: port))
    }

    /// Accepts connections of a listening descriptor, which the server then owns; returns its port.
    @discardableResult
    package func listen(descriptor: Int32) throws(ListenError) -> Int {
        let listener = try TCPListener(
            loop: loop,
            descriptor: descriptor,
            accept: { [unowned self] listener in admit { listener.take($0) } },
            onError: { [unowned self] _ in statistics.acceptErrors += 1 }
        )
        listeners.append(listener)
        return listener.port
    }

    package var openConnections: Int { connections.count }

    private func admit(_ take: (TCPSocket) -> Int32) {
        let connection = HTTPConnection(server: self)
        guard take(connection.socket) == 0 else {
            statistics.acceptErrors += 1
            connection.socket.close()
            return
        }
        guard connections.count < limits.connections else {
            statistics.turnedAway += 1
            connection.turnAway()
            return
        }
        statistics.accepted += 1
        connection.index = connections.count
        connections.append(connection)
        if sweeper == nil { scheduleSweep() }
        connection.start()
    }

    /// Called by a connection once, when it closes.
    func forget(_ connection: any ServerConnection) {
        let hole = connection.index
        guard hole >= 0 else { return }
        connection.index = -1
        let last = connections.removeLast()
        if hole < connections.count {
            connections[hole] = last
            last.index = hole
        }
        if connections.isEmpty { emptied.take()?.resume() }
    }

    /// The same connection goes on as something else.
    func replace(_ connection: any ServerConnection, by next: any ServerConnection) {
        guard connection.index >= 0 else { return }
        next.index = connection.index
        connection.index = -1
        connections[next.index] = next
    }

    // MARK: Timeouts

    /// Looks at an eighth of the connections each time, so that many cost no long turn.
    private func scheduleSweep() {
        sweeper = loop.after(sweepPeriod / HTTPServer.sweepSteps) { [weak self] in
            guard let self else { return }
            sweeper = nil
            sweep()
            if !connections.isEmpty { scheduleSweep() }
        }
    }

    private func sweep() {
        let now = loop.milliseconds
        var share = connections.count / HTTPServer.sweepSteps + 1
        while share > 0, !connections.isEmpty {
            share -= 1
            if swept >= connections.count { swept = 0 }
            // May close the connection, which puts another one in its place.
            connections[swept].checkTime(now)
            swept += 1
        }
    }

    // MARK: Shared output

    func borrowOutput() -> OutputBuffer { spareOutput.take() ?? OutputBuffer(capacity: 4_096) }

    func giveBack(_ output: OutputBuffer) {
        output.clear()
        if spareOutput == nil { spareOutput = output }
    }

    // MARK: Draining

    /// Finishes what is under way, takes nothing new, and returns when all connections have closed.
    ///
    /// What already waits in the backlog is served. Answers carry `Connection: close`; idle connections may
    /// bring one more request within ``HTTPLimits/drainGrace``. After `deadline` what is left is cut.
    package func drain(deadline: Duration) async {
        loop.assertOnLoop()
        isDraining = true
        for listener in listeners {
            listener.close { descriptor in admit { $0.open(descriptor: descriptor) } }
        }
        listeners.removeAll()
        for connection in connections { connection.serverDrains() }
        let grace = loop.after(min(limits.drainGrace, deadline)) { [self] in
            for connection in connections { connection.closeIfIdle() }
        }
        let end = loop.after(deadline) { [self] in
            for connection in connections { connection.abort() }
        }
        if !connections.isEmpty { await withUnsafeContinuation { emptied = $0 } }
        grace.cancel()
        end.cancel()
        sweeper?.cancel()
        sweeper = nil
    }
}
