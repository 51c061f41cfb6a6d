import EventLoops

/// What a server lets one WebSocket do.
package struct WebSocketLimits: Sendable {
    /// The most bytes of a message that comes, in however many frames; more ends it with 1009.
    package var messageBytes = 65_536
    /// Bytes that the kernel has not taken, above which the client reads too slowly and is cut off.
    package var queueBytes = 262_144
    /// After so long without a byte from the client it is asked whether it is there.
    package var pingInterval = Duration.seconds(30)
    /// How long it may take to answer that.
    package var pongTimeout = Duration.seconds(20)
    /// How long a client may take to answer a close frame.
    package var closeTimeout = Duration.seconds(3)

    package init() {}
}

/// Whoever uses a WebSocket; every call comes on its loop.
package protocol WebSocketUser: AnyObject {
    /// A whole message came; it is UTF-8.
    func webSocketReceived(text: [UInt8])
    func webSocketReceived(binary: [UInt8])
    /// Nothing more comes and nothing more can be sent.
    func webSocketClosed(_ code: WebSocketCloseCode)
}

/// A WebSocket of a server (RFC 6455), on the loop of the connection that it was.
///
/// An idle one costs no buffer and no task. Pings are answered here, and silence is asked about. What a
/// client does not read is queued up to a bound; above it the client is cut off, so that a slow one costs
/// the same whatever is sent.
package final class WebSocket: @unchecked Sendable {
    // @unchecked: touched on `loop` only.
    enum Phase {
        case open
        /// Our close frame is out; the client's is awaited, and nothing else counts.
        case closing
        /// The last bytes are out; the client closes its side.
        case lingering
        case closed
    }

    package var loop: EventLoop { server.loop }
    /// Who is told; held while the socket is open.
    private var user: (any WebSocketUser)?
    private let server: HTTPServer
    private let limits: WebSocketLimits
    private var socket: TCPSocket!
    private var decoder: WebSocketDecoder
    private var phase = Phase.open
    /// The code that the user is told in the end.
    private var code = WebSocketCloseCode.abnormal
    /// When the client was heard last, or when the phase began.
    private var since: UInt64
    private var hasAsked = false
    var index = -1

    init(_ socket: TCPSocket, server: HTTPServer, limits: WebSocketLimits) {
        self.socket = socket
        self.server = server
        self.limits = limits
        decoder = WebSocketDecoder(messageBytes: limits.messageBytes)
        since = server.loop.milliseconds
    }

    /// Takes over a connection whose answer is out, with what the client has sent since.
    func start(_ user: any WebSocketUser, _ early: [UInt8]) {
        self.user = user
        socket.startReading()
        if !early.isEmpty { early.withUnsafeBufferPointer { socketRead($0) } }
    }

    package var isOpen: Bool { phase == .open }

    // MARK: Sending

    /// Sends a message; false if the client is gone, or is cut off for not reading.
    @discardableResult
    package func send(_ frame: WebSocketFrame) -> Bool {
        guard phase == .open else { return false }
        write(frame)
        guard phase == .open else { return false }
        guard socket.queuedBytes <= limits.queueBytes else {
            server.statistics.slowWebSockets += 1
            end()
            return false
        }
        return true
    }

    /// Says goodbye; the user is told when the client has answered, or has not in time.
    package func close(_ code: WebSocketCloseCode, reason: String = "") {
        guard phase == .open else { return }
        self.code = code
        enter(.closing)
        write(.close(code, reason: reason))
    }

    private func write(_ frame: WebSocketFrame) {
        server.statistics.bytesOut += frame.bytes.count
        if frame.bytes.withUnsafeBufferPointer({ socket.write($0) }) < 0 { end() }
    }

    private func enter(_ next: Phase) {
        phase = next
        since = loop.milliseconds
    }

    // MARK: What the client says

    private func take(_ event: WebSocketDecoder.Event) {
        switch (phase, event) {
        case (.open, .text(let message)): user?.webSocketReceived(text: message)
        case (.open, .binary(let message)): user?.webSocketReceived(binary: message)
        case (.open, .ping(let payload)):
            write(WebSocketFrame(.pong, payload))
            // A client that asks and never reads is as slow as one that is only sent to.
            if phase == .open, socket.queuedBytes > limits.queueBytes { end() }
        case (.open, .close(let code, _)):
            self.code = code
            write(.close(code == .none ? .normal : code))
            finish()
        case (.closing, .close): finish()
        default: break
        }
    }

    private func fail(_ fault: WebSocketFault) {
        guard phase == .open else { return end() }
        server.statistics.refused += 1
        code = fault.code
        write(.close(fault.code, reason: fault.reason))
        finish()
    }

    /// Both close frames are out: the server closes first, and waits a moment so that its frame arrives.
    private func finish() {
        guard phase == .open || phase == .closing else { return }
        enter(.lingering)
        socket.shutdown()
        tell()
    }

    /// Closes at once.
    private func end() {
        guard phase != .closed else { return }
        phase = .closed
        socket.close()
        server.forget(self)
        tell()
    }

    private func tell() {
        let user = user.take()
        user?.webSocketClosed(code)
    }
}

// MARK: - What the socket and the server tell

extension WebSocket: SocketOwner, ServerConnection {
    package func socketRead(_ bytes: UnsafeBufferPointer<UInt8>) {
        server.statistics.bytesIn += bytes.count
        guard phase == .open || phase == .closing else { return }
        since = phase == .open ? loop.milliseconds : since
        hasAsked = false
        do throws(WebSocketFault) {
            try decoder.feed(bytes) { take($0) }
        } catch {
            fail(error)
        }
    }

    package func socketEnded() { end() }
    package func socketFailed(_ code: Int32) { end() }
    package func socketWrote() {}

    package func socketClosed() {
        server.forget(self)
        socket = nil
    }

    func checkTime(_ now: UInt64) {
        let waited = Duration.milliseconds(Int64(now &- since))
        switch phase {
        case .open:
            if waited >= limits.pingInterval + limits.pongTimeout {
                server.statistics.timeouts += 1
                end()
            } else if waited >= limits.pingInterval, !hasAsked {
                hasAsked = true
                write(WebSocketFrame(.ping, []))
            }
        case .closing, .lingering: if waited >= limits.closeTimeout { end() }
        case .closed: break
        }
    }

    func serverDrains() { close(.goingAway, reason: "the server stops") }
    func closeIfIdle() {}
    func abort() { end() }
}
