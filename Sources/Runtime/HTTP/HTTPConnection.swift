import EventLoops

/// One connection of a server: bytes to requests, answers to bytes, one request after the other.
///
/// It is a state machine over ``Phase``. Bytes beyond the current request stay in `partial`. While it works
/// on input or an answer, its output gathers in a buffer that goes to the socket once at the end. What it
/// does with input, with output and at its end is in files of its own; only these touch its state.
final class HTTPConnection: ServerConnection, @unchecked Sendable {
    // @unchecked: touched on its server's loop only.
    enum Phase {
        /// Waits for the first byte of a request.
        case idle
        /// Has part of a head.
        case head
        /// A handler runs, or its answer streams; its body may still arrive.
        case handling
        /// The answer is out; the unread rest of the body is dropped.
        case discarding
        /// No more is answered; reads on so that the last answer is not lost to a reset.
        case lingering
        case closed
    }

    let server: HTTPServer
    var socket: TCPSocket!
    /// Its place among the server's connections; negative while it is not among them.
    var index = -1

    var phase = Phase.idle
    var partial: [UInt8] = []
    var seen = 0
    var hasSkippedLine = false
    var isProcessing = false
    var output: OutputBuffer?

    var request: Request?
    var body: BodyDecoder?
    var task: Task<Void, Never>?
    var answer = AnswerState()
    var writers: [UnsafeContinuation<Void, Never>] = []

    /// What it has become, for bytes that came together with the request.
    var successor: WebSocket?
    var hasEnded = false
    var owesContinue = false
    var startedAt: UInt64 = 0
    var pace = Pace()

    /// What has been sent of the current answer.
    struct AnswerState {
        var hasBegun = false
        var status: Status = 500
        var keepsAlive = true
        var isChunked = false
        /// Bytes that the declared length still allows; nil without one.
        var remaining: Int?
        var leavesBodyOut = false
    }

    init(server: HTTPServer) {
        self.server = server
        socket = TCPSocket(loop: server.loop, owner: self)
    }

    func start() {
        enter(.head)
        socket.startReading()
    }

    /// Answers a connection that is one too many, and closes it.
    func turnAway() {
        phase = .closed
        let busy: StaticString =
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        // It closes whether or not the client gets this.
        _ = socket.write(UnsafeBufferPointer(start: busy.utf8Start, count: busy.utf8CodeUnitCount))
        socket.close()
    }

    var limits: HTTPLimits { server.limits }

    func enter(_ next: Phase) {
        phase = next
        pace.restart(server.loop.milliseconds)
    }

    // MARK: One request

    func begin(_ head: consuming RequestHead) {
        server.statistics.requests += 1
        let stream: RequestBody
        if head.hasBody {
            var declared: Int?
            if case .length(let length) = head.framing {
                declared = length
                body = .length(remaining: length)
            } else {
                body = .chunked(ChunkedDecoder(overhead: limits.chunkOverheadBytes))
            }
            stream = RequestBody(
                declaredLength: declared,
                limit: limits.bodyBytes,
                source: self,
                loop: server.loop
            )
        } else {
            stream = server.noBody
        }
        owesContinue = head.expectsContinue
        answer = AnswerState()
        answer.keepsAlive = head.keepsAlive
        let request = Request(
            head: head,
            body: stream,
            id: server.names.nextID(),
            spanID: server.names.next() | 1,
            connection: self,
            loop: server.loop
        )
        self.request = request
        startedAt = EventLoop.nanoseconds
        enter(.handling)
        let loop = server.loop
        loop.taskBegan()
        let task = Task.immediate(executorPreference: loop) {
            await self.run(request)
            loop.taskEnded()
        }
        if self.request === request { self.task = task }
    }

    func run(_ request: Request) async {
        let response: Response
        do {
            response = try await server.handler(request)
        } catch {
            response = server.response(to: error, of: request)
        }
        guard self.request === request else { return }
        if case .webSocket(let upgrade) = response.body {
            return becomeWebSocket(upgrade, response)
        }
        guard case .stream(_, let write) = send(response), self.request === request else { return }
        let writer = ResponseWriter(sink: self)
        defer { writer.end() }
        do {
            try await write(writer)
            if self.request === request { corked { endStream() } }
        } catch {
            server.note(error, of: request)
            if self.request === request { cut() }
        }
        if self.request == nil { resume() }
    }

    /// Sends what of the response does not stream, and returns its body.
    func send(_ response: Response) -> ResponseBody {
        corked {
            let body = sendHead(response)
            if case .stream = body { return body }
            if phase != .closed { finish() }
            return .none
        } then: {
            resume()
        }
    }

    func sendHead(_ response: Response) -> ResponseBody {
        let request = request!
        let bodiless = response.status.isBodiless
        answer.hasBegun = true
        answer.status = response.status
        answer.leavesBodyOut = bodiless || request.method == .head
        answer.keepsAlive = answer.keepsAlive && !server.isDraining && !hasEnded && canReuse
        var length: Int?
        switch response.body {
        case .none, .webSocket: length = 0
        case .bytes(let bytes): length = bytes.count
        case .part(_, let range): length = range.count
        case .stream(let declared, _):
            length = declared
            answer.remaining = declared
            answer.isChunked = declared == nil && !request.head.isHTTP10 && !bodiless
            if declared == nil && request.head.isHTTP10 { answer.keepsAlive = false }
        }
        server.dateLine.refresh()
        ResponseEncoder.write(
            response,
            length: bodiless ? nil : length,
            isChunked: answer.isChunked,
            keepsAlive: answer.keepsAlive,
            request: request,
            date: server.dateLine.bytes,
            to: output!
        )
        if answer.leavesBodyOut { return .none }
        switch response.body {
        case .bytes(let bytes): put(bytes)
        case .part(let bytes, let range): put(bytes, range)
        case .none, .stream, .webSocket: break
        }
        return response.body
    }

    /// Answers with 101 and leaves the socket to the WebSocket; this connection is nothing any more.
    func becomeWebSocket(_ upgrade: WebSocketUpgrade, _ response: Response) {
        guard !server.isDraining, !hasEnded else {
            _ = send(server.response(to: HTTPError.stopping, of: request!))
            return
        }
        let early = partial
        partial = []
        corked { _ = sendHead(response) }
        if let output { flush(output) }
        guard phase != .closed, let socket else { return }
        phase = .closed
        let request = request.take()
        task = nil
        let took = Duration.nanoseconds(Int64(EventLoop.nanoseconds - startedAt))
        server.hooks.finished?(request, 101, took)
        let webSocket = WebSocket(socket, server: server, limits: upgrade.limits)
        socket.handOver(to: webSocket)
        self.socket = nil
        successor = webSocket
        server.replace(self, by: webSocket)
        webSocket.start(upgrade.begin(webSocket), early)
    }

    /// Whether the rest of the body, if any, is short enough to be read over.
    var canReuse: Bool {
        switch body {
        case nil: true
        case .length(let remaining): remaining <= limits.discardBytes && !owesContinue
        default: false
        }
    }

    /// The answer is complete: the next request may begin.
    func finish() {
        let request = request.take()
        task = nil
        let took = Duration.nanoseconds(Int64(EventLoop.nanoseconds - startedAt))
        server.hooks.finished?(request, answer.status, took)
        if body != nil { request?.body.fail(.clientClosed) }
        if !answer.keepsAlive {
            closeGently()
        } else {
            enter(body == nil ? .idle : .discarding)
        }
    }

    /// Answers a head that is no request, and closes.
    func refuse(_ error: HTTPError) {
        server.statistics.refused += 1
        let response = server.hooks.errorResponse(error, nil)
        corked {
            server.dateLine.refresh()
            ResponseEncoder.write(
                response,
                length: response.body.count,
                isChunked: false,
                keepsAlive: false,
                request: nil,
                date: server.dateLine.bytes,
                to: output!
            )
            if case .bytes(let bytes) = response.body { put(bytes) }
        }
        server.hooks.finished?(nil, response.status, .zero)
        closeGently()
    }
}
