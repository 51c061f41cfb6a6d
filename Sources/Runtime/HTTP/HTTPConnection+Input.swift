import EventLoops

extension HTTPConnection {
    /// Works on new bytes, together with those that were left, as far as it gets.
    func take(_ bytes: UnsafeBufferPointer<UInt8>) {
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
    func resume() {
        guard !isProcessing, phase != .closed else { return }
        if !partial.isEmpty { corked { processPartial() } }
        regulateReading()
        if hasEnded, phase == .idle || phase == .head { closeGently() }
    }

    func processPartial() {
        let pending = partial
        partial = []
        let used = pending.withUnsafeBufferPointer { process($0) }
        guard used < pending.count, phase != .closed else { return }
        partial = used == 0 ? pending : Array(pending[used...])
    }

    /// Returns how many bytes were used up.
    func process(_ input: UnsafeBufferPointer<UInt8>) -> Int {
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
                successor?.socketRead(rest)
                return input.count
            }
            if step == 0 { return used }
            used += step
        }
        return used
    }

    func processHead(_ input: UnsafeBufferPointer<UInt8>) -> Int {
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

    func processBody(_ input: UnsafeBufferPointer<UInt8>) -> Int {
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
    func regulateReading() {
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
