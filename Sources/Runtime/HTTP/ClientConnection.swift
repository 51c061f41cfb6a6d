import EventLoops

/// One connection of a client, which carries one exchange after the other.
final class ClientConnection: @unchecked Sendable {
    // @unchecked: touched on its client's loop only.
    private enum Phase {
        case connecting
        case idle
        case waitingForHead
        case body
        case closed
    }

    private let client: HTTPClient
    private let loop: EventLoop
    private weak var pool: ClientPool?
    private var socket: TCPSocket?
    private var phase = Phase.connecting

    private var exchange: ClientExchange?
    private var input: [UInt8] = []
    private var seen = 0
    private var body: BodyDecoder?
    private weak var stream: ClientBody?
    private var keepsAlive = true
    private var hasServed = false
    private(set) var idleSince: UInt64 = 0
    private var connectTimer: LoopTimer?

    init(client: HTTPClient, pool: ClientPool) {
        self.client = client
        self.pool = pool
        loop = client.loop
    }

    // MARK: Connecting

    func open(for exchange: ClientExchange) {
        self.exchange = exchange
        exchange.connection = self
        let request = exchange.request
        connectTimer = loop.after(client.limits.connectTimeout) { [weak self] in
            self?.failExchange(.connect("timeout"))
        }
        NameLookup.start(request.host, loop: loop) { addresses, failure in
            guard self.phase == .connecting else { return }
            if let failure { return self.failExchange(.resolve(failure)) }
            self.connect(addresses[...], port: request.port)
        }
    }

    /// Tries one address after the other.
    private func connect(_ addresses: ArraySlice<String>, port: Int) {
        let socket = TCPSocket(loop: loop, owner: self)
        self.socket = socket
        socket.connect(address: addresses.first!, port: port) { status in
            guard self.phase == .connecting else { return }
            if status == 0 {
                self.connected()
            } else if addresses.count > 1 {
                self.socket = nil
                socket.close()
                self.connect(addresses.dropFirst(), port: port)
            } else {
                self.failExchange(.connect(TCPSocket.describe(status)))
            }
        }
    }

    private func connected() {
        connectTimer?.cancel()
        connectTimer = nil
        phase = .idle
        socket?.startReading()
        guard let exchange = exchange.take() else { return abort(.closed) }
        begin(exchange)
    }

    // MARK: One exchange

    func begin(_ exchange: ClientExchange) {
        precondition(phase == .idle)
        self.exchange = exchange
        exchange.connection = self
        phase = .waitingForHead
        input = []
        seen = 0
        let output = client.output
        exchange.request.write(to: output)
        let status = exchange.request.body.withUnsafeBufferPointer {
            socket!.write(output.bytes, $0)
        }
        output.clear()
        if status < 0 { lost() }
    }

    private func take(_ bytes: UnsafeBufferPointer<UInt8>) {
        switch phase {
        case .body: takeBody(bytes)
        case .waitingForHead:
            input.append(contentsOf: bytes)
            takeHead()
        case .idle: abort(.closed)
        case .connecting, .closed: break
        }
    }

    private func takeHead() {
        while phase == .waitingForHead {
            let parsed: ResponseHead?
            do {
                parsed = try input.withUnsafeBufferPointer { bytes throws(HTTPClientError) in
                    try ResponseHead.parse(bytes, seen: seen, limit: client.limits.headBytes)
                }
            } catch {
                return failExchange(error)
            }
            guard let head = parsed else {
                seen = input.count
                return
            }
            input.removeFirst(head.length)
            seen = 0
            // Interim answers (RFC 9110, section 15.2) are read over.
            if head.status.code >= 200 { begin(head) }
        }
    }

    private func begin(_ head: ResponseHead) {
        guard let exchange = exchange.take() else { return abort(.closed) }
        keepsAlive = head.keepsAlive
        hasServed = true
        let decoder: BodyDecoder =
            exchange.request.method == .head || head.status.isBodiless
            ? .length(remaining: 0) : head.framing
        var declared: Int?
        if case .length(let length) = decoder { declared = length }
        if case .untilClose = decoder { keepsAlive = false }
        let stream = ClientBody(declaredLength: declared, limit: .max, source: self, loop: loop)
        self.stream = stream
        body = decoder
        phase = .body
        let rest = input
        input = []
        rest.withUnsafeBufferPointer { takeBody($0) }
        exchange.succeed(ClientResponse(status: head.status, headers: head.headers, body: stream))
    }

    private func takeBody(_ bytes: UnsafeBufferPointer<UInt8>) {
        guard var decoder = body.take() else { return }
        let stream = stream
        do {
            let used = try decoder.feed(bytes) { stream?.append($0) }
            guard decoder.isDone else {
                body = decoder
                return regulateReading()
            }
            stream?.complete()
            // Bytes beyond the answer belong to nothing that was asked.
            finish(reuse: keepsAlive && used == bytes.count)
        } catch {
            stream?.fail(.malformed("the chunks of the body"))
            abort(.closed)
        }
    }

    private func finish(reuse: Bool) {
        stream = nil
        guard reuse, let pool else { return abort(.closed) }
        phase = .idle
        idleSince = loop.milliseconds
        socket?.startReading()
        pool.release(self)
    }

    private func regulateReading() {
        guard phase == .body, let socket, let stream else { return }
        if stream.buffered.count >= client.limits.bodyBufferBytes {
            socket.stopReading()
        } else {
            socket.startReading()
        }
    }

    // MARK: Failing

    /// The connection broke; a kept one may have been closed by the server before the request arrived.
    private func lost() {
        guard let exchange, phase == .waitingForHead else {
            if case .untilClose? = body { stream?.complete() }
            return abort(.closed)
        }
        let isStale = hasServed && input.isEmpty && !exchange.isRetry
        guard isStale, exchange.request.method.isIdempotent, let pool else {
            return failExchange(.closed)
        }
        self.exchange = nil
        exchange.connection = nil
        exchange.isRetry = true
        abort(.closed)
        pool.start(exchange)
    }

    private func failExchange(_ error: HTTPClientError) {
        let failed = exchange.take()
        failed?.connection = nil
        failed?.fail(error)
        abort(error)
    }

    /// Closes at once.
    func abort(_ error: HTTPClientError) {
        guard phase != .closed else { return }
        phase = .closed
        connectTimer?.cancel()
        connectTimer = nil
        body = nil
        let failed = exchange.take()
        failed?.connection = nil
        socket?.close()
        stream?.fail(error)
        pool?.remove(self)
        failed?.fail(error)
    }
}

extension ClientConnection: SocketOwner {
    func socketRead(_ bytes: UnsafeBufferPointer<UInt8>) { take(bytes) }
    func socketEnded() { lost() }
    func socketFailed(_ code: Int32) { lost() }
    func socketWrote() {}
    func socketClosed() { if phase == .closed { socket = nil } }
}

extension ClientConnection: ByteSource {
    func bytesWanted() { regulateReading() }
    func bytesTaken() { regulateReading() }

    func abandoned() {
        guard loop.isOnLoop else { return loop.execute { self.abandoned() } }
        if phase == .body { abort(.closed) }
    }
}
