import EventLoops

/// One connection of a server: bytes to requests, answers to bytes, one request after the other.
///
/// It is a state machine over ``Phase``. Bytes beyond the current request stay in `partial`. While it works
/// on input or an answer, its output gathers in a buffer that goes to the socket once at the end.
final class HTTPConnection: @unchecked Sendable {
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
    private(set) var socket: TCPSocket!
    /// Its place among the server's connections; negative while it is not among them.
    var index = -1

    private(set) var phase = Phase.idle
    private var partial: [UInt8] = []
    private var seen = 0
    private var hasSkippedLine = false
    private var isProcessing = false
    private var output: OutputBuffer?

    private(set) var request: Request?
    private var body: BodyDecoder?
    private var task: Task<Void, Never>?
    private var answer = AnswerState()
    private var writers: [UnsafeContinuation<Void, Never>] = []

    private var hasEnded = false
    private var owesContinue = false
    private var startedAt: UInt64 = 0
    private var pace = Pace()

    /// What has been sent of the current answer.
    private struct AnswerState {
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

    private var limits: HTTPLimits { server.limits }

    private func enter(_ next: Phase) {
        phase = next
        pace.restart(server.loop.milliseconds)
    }

    // MARK: Input

    /// Works on new bytes, together with those that were left, as far as it gets.
    private func take(_ bytes: UnsafeBufferPointer<UInt8>) {
        server.statistics.bytesIn += bytes.count
        guard !isProcessing else { return partial.append(contentsOf: bytes) }
        corked {
            if partial.isEmpty {
                let used = process(bytes)
                if used < bytes.count, phase != .closed { partial = Array(bytes[used...]) }
            } else {
                partial.append(contentsOf: bytes)
                processPartial()
            }
        }
        regulateReading()
    }

    /// Goes on with bytes that were left over while a request was answered or the queue was full.
    private func resume() {
        guard !isProcessing, phase != .closed else { return }
        if !partial.isEmpty { corked { processPartial() } }
        regulateReading()
        if hasEnded, phase == .idle || phase == .head { closeGently() }
    }

    private func processPartial() {
        let pending = partial
        partial = []
        let used = pending.withUnsafeBufferPointer { process($0) }
        guard used < pending.count, phase != .closed else { return }
        partial = used == 0 ? pending : Array(pending[used...])
    }

    /// Returns how many bytes were used up.
    private func process(_ input: UnsafeBufferPointer<UInt8>) -> Int {
        isProcessing = true
        defer { isProcessing = false }
        var used = 0
        while used < input.count {
            let rest = UnsafeBufferPointer(rebasing: input[used...])
            let step: Int
            switch phase {
            case .idle, .head:
                guard socket.queuedBytes <= limits.writeQueueBytes else { return used }
                step = processHead(rest)
            case .handling, .discarding:
                step = processBody(rest)
            case .lingering, .closed:
                return input.count
            }
            if step == 0 { return used }
            used += step
        }
        return used
    }

    private func processHead(_ input: UnsafeBufferPointer<UInt8>) -> Int {
        if phase == .idle {
            enter(.head)
            seen = 0
        }
        if input[0] == 0x0D, !hasSkippedLine {
            // One empty line before a request is forgiven (RFC 9112, section 2.2).
            guard input.count >= 2 else { return 0 }
            if input[1] == 0x0A {
                hasSkippedLine = true
                return 2
            }
        }
        switch server.parser.parse(input, seen: min(seen, input.count)) {
        case .partial:
            seen = input.count
            return 0
        case .head(let length):
            seen = 0
            hasSkippedLine = false
            begin(server.parser.takeHead())
            return length
        case .refused(let error):
            refuse(error)
            return input.count
        }
    }

    private func processBody(_ input: UnsafeBufferPointer<UInt8>) -> Int {
        guard var decoder = body.take() else { return 0 }
        let stream = phase == .handling ? request?.body : nil
        do {
            let used = try decoder.feed(input) { piece in
                pace.moved(piece.count)
                stream?.append(piece)
            }
            guard decoder.isDone else {
                body = decoder
                return used
            }
            pace.restart(server.loop.milliseconds)
            stream?.complete()
            if phase == .discarding { enter(.idle) }
            return used
        } catch {
            let status: Status = error == .overhead ? 431 : 400
            let fault = HTTPError(status, "Malformed chunked body.")
            server.statistics.refused += 1
            stream?.fail(fault)
            answer.keepsAlive = false
            if phase == .discarding { closeGently() }
            return input.count
        }
    }

    /// Reads on or pauses, by what waits unprocessed.
    private func regulateReading() {
        guard phase != .closed, !hasEnded else { return }
        let isFull =
            switch phase {
            case .handling where body != nil:
                request!.body.buffered.count >= limits.bodyBufferBytes
            case .idle, .head, .handling:
                partial.count >= max(limits.pipelinedBytes, limits.headBytes)
            case .discarding, .lingering, .closed: false
            }
        if isFull {
            socket.stopReading()
        } else if !socket.isReading {
            pace.restart(server.loop.milliseconds)
            socket.startReading()
        }
    }

    // MARK: One request

    private func begin(_ head: consuming RequestHead) {
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

    private func run(_ request: Request) async {
        let response: Response
        do {
            response = try await server.handler(request)
        } catch {
            response = server.response(to: error, of: request)
        }
        guard self.request === request else { return }
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
    private func send(_ response: Response) -> ResponseBody {
        corked {
            let body = sendHead(response)
            if case .stream = body { return body }
            if phase != .closed { finish() }
            return .none
        } then: {
            resume()
        }
    }

    private func sendHead(_ response: Response) -> ResponseBody {
        let request = request!
        let bodiless = response.status.isBodiless
        answer.hasBegun = true
        answer.status = response.status
        answer.leavesBodyOut = bodiless || request.method == .head
        answer.keepsAlive = answer.keepsAlive && !server.isDraining && !hasEnded && canReuse
        var length: Int?
        switch response.body {
        case .none: length = 0
        case .bytes(let bytes): length = bytes.count
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
        if case .bytes(let bytes) = response.body { put(bytes) }
        return response.body
    }

    /// Whether the rest of the body, if any, is short enough to be read over.
    private var canReuse: Bool {
        switch body {
        case nil: true
        case .length(let remaining): remaining <= limits.discardBytes && !owesContinue
        default: false
        }
    }

    /// The answer is complete: the next request may begin.
    private func finish() {
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
    private func refuse(_ error: HTTPError) {
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

    // MARK: Output

    /// Gathers what `body` writes, and sends it in one go.
    @discardableResult
    private func corked<T>(_ body: () -> T, then: () -> Void = {}) -> T {
        guard output == nil else {
            // Inside of another call, whose end sends it and goes on.
            return body()
        }
        let mine = server.borrowOutput()
        output = mine
        let result = body()
        output = nil
        flush(mine)
        server.giveBack(mine)
        then()
        return result
    }

    private func flush(
        _ output: OutputBuffer,
        _ extra: UnsafeBufferPointer<UInt8> = UnsafeBufferPointer(start: nil, count: 0)
    ) {
        guard phase != .closed, output.count + extra.count > 0 else { return }
        server.statistics.bytesOut += output.count + extra.count
        let wasQueued = socket.queuedBytes > 0
        let status = socket.write(output.bytes, extra)
        output.clear()
        if status < 0 { return abort() }
        if !wasQueued && socket.queuedBytes > 0 { pace.restart(server.loop.milliseconds) }
    }

    /// Small answers are copied behind their heads, so that several go out together; large ones are not.
    private func put(_ bytes: [UInt8]) {
        if bytes.count <= 16_384 {
            output!.append(bytes)
            if output!.count > 65_536 { flush(output!) }
        } else {
            bytes.withUnsafeBufferPointer { flush(output!, $0) }
        }
    }

    private func endStream() {
        if let remaining = answer.remaining, remaining > 0 {
            return cut()
        }
        if answer.isChunked { output!.append("0\r\n\r\n") }
        finish()
    }

    // MARK: Closing

    /// Sends what is left, tells the peer that no more will come, and reads on for a moment: closing a
    /// socket with unread bytes would reset it and could take the answer away from the client.
    private func closeGently() {
        guard phase != .closed, phase != .lingering else { return }
        if let output { flush(output) }
        guard phase != .closed else { return }
        partial = []
        body = nil
        enter(.lingering)
        if hasEnded && socket.queuedBytes == 0 { return abort() }
        socket.shutdown()
        if !hasEnded { socket.startReading() }
    }

    func closeIfIdle() {
        switch phase {
        case .idle, .head: if partial.isEmpty { closeGently() }
        default: break
        }
    }

    /// Ends an answer that cannot be completed: only a closed connection tells the client so.
    private func cut() {
        if let output { flush(output) }
        abort()
    }

    /// Closes at once: the client is gone, broken or too slow.
    func abort() {
        guard phase != .closed else { return }
        phase = .closed
        let request = request.take()
        let task = task.take()
        partial = []
        body = nil
        socket.close()
        server.forget(self)
        request?.body.fail(.clientClosed)
        for writer in writers { writer.resume() }
        writers = []
        guard let request else { return }
        let took = Duration.nanoseconds(Int64(EventLoop.nanoseconds - startedAt))
        server.hooks.finished?(request, answer.hasBegun ? answer.status : 499, took)
        task?.cancel()
    }

    // MARK: Time

    /// Called about once a second.
    func checkTime(_ now: UInt64) {
        let waited = Duration.milliseconds(Int64(now &- pace.since))
        switch phase {
        case .idle:
            if socket.queuedBytes > 0 {
                checkReader(now)
            } else if waited >= limits.idleTimeout {
                closeGently()
            }
        case .head:
            guard waited >= limits.headTimeout else { return }
            server.statistics.timeouts += 1
            if partial.isEmpty { closeGently() } else { refuse(HTTPConnection.headTooSlow) }
        case .handling:
            if socket.queuedBytes > 0 { return checkReader(now) }
            if body != nil, socket.isReading { return checkSender(now) }
            if answer.hasBegun { return pace.restart(now) }
            if waited >= limits.requestTimeout { giveUp() }
        case .discarding:
            if pace.isTooSlow(now, limits) { timeOut() }
        case .lingering:
            if socket.queuedBytes > 0 { return checkReader(now) }
            if waited >= limits.lingerTimeout { abort() }
        case .closed: break
        }
    }

    private static let headTooSlow = HTTPError(408, "The request's head took too long to arrive.")
    private static let bodyTooSlow = HTTPError(408, "The request's body arrived too slowly.")

    private func timeOut() {
        server.statistics.timeouts += 1
        abort()
    }

    /// Cuts a client that does not read its answer.
    private func checkReader(_ now: UInt64) {
        let queued = socket.queuedBytes
        guard queued > 0 else { return pace.restart(now) }
        pace.drained(to: queued)
        if pace.isTooSlow(now, limits) { timeOut() }
    }

    /// Fails the body of a client that does not send it; the handler's answer then ends the connection.
    private func checkSender(_ now: UInt64) {
        guard pace.isTooSlow(now, limits) else { return }
        server.statistics.timeouts += 1
        body = nil
        answer.keepsAlive = false
        request?.body.fail(HTTPConnection.bodyTooSlow)
    }

    /// Answers for a handler that took too long, and drops what it may return later.
    private func giveUp() {
        server.statistics.timeouts += 1
        let task = task.take()
        answer.keepsAlive = false
        let error = HTTPError.timedOut
        let response = server.hooks.errorResponse(error, request)
        _ = send(response)
        task?.cancel()
    }
}

// MARK: - What the socket tells

extension HTTPConnection: SocketOwner {
    func socketRead(_ bytes: UnsafeBufferPointer<UInt8>) { take(bytes) }

    func socketEnded() {
        hasEnded = true
        switch phase {
        case .idle, .head: closeGently()
        case .handling where body == nil:
            // The client may have closed or only ended its side: stop the work, but send its answer.
            task?.cancel()
        case .handling, .discarding: abort()
        case .lingering: if socket.queuedBytes == 0 { abort() }
        case .closed: break
        }
    }

    func socketFailed(_ code: Int32) { abort() }

    func socketWrote() {
        let queued = socket.queuedBytes
        if queued <= limits.writeQueueBytes / 2, !writers.isEmpty {
            let waiting = writers
            writers = []
            for writer in waiting { writer.resume() }
        }
        if phase == .lingering, hasEnded, queued == 0 { return abort() }
        if phase == .idle || phase == .head { resume() }
    }

    func socketClosed() {
        server.forget(self)
        socket = nil
    }
}

// MARK: - What requests and answers ask

extension HTTPConnection: RequestOrigin, ResponseSink, ByteSource {
    var isClosed: Bool { phase == .closed || hasEnded }
    var peerAddress: String { phase == .closed ? "" : socket.peerAddress }
    var trustsForwarded: Bool { server.trustsForwarded }

    func bytesWanted() {
        if owesContinue {
            owesContinue = false
            if request?.body.received == 0 {
                corked { output!.append("HTTP/1.1 100 Continue\r\n\r\n") }
            }
        }
        bytesTaken()
    }

    func bytesTaken() {
        guard !isProcessing else { return }
        regulateReading()
    }

    func abandoned() {
        // The connection itself reads over what a handler leaves, or closes.
    }

    func writeBody(_ bytes: [UInt8]) {
        guard answer.hasBegun, request != nil, !answer.leavesBodyOut else { return }
        if let remaining = answer.remaining {
            answer.remaining = remaining - min(bytes.count, remaining)
            corked { put(bytes.count <= remaining ? bytes : Array(bytes[..<remaining])) }
            return
        }
        corked {
            if answer.isChunked {
                output!.append(hex: bytes.count)
                output!.append("\r\n")
            }
            put(bytes)
            if answer.isChunked { output!.append("\r\n") }
        }
    }

    func writable() async {
        guard phase != .closed, socket.queuedBytes > limits.writeQueueBytes else { return }
        await withUnsafeContinuation { writers.append($0) }
    }
}
