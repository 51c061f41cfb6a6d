import EventLoops

extension HTTPConnection {
    /// Gathers what `body` writes, and sends it in one go.
    @discardableResult
    func corked<T>(_ body: () -> T, then: () -> Void = {}) -> T {
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

    func flush(
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
    func put(_ bytes: [UInt8]) { put(bytes, bytes.indices) }

    func put(_ bytes: [UInt8], _ range: Range<Int>) {
        bytes.withUnsafeBufferPointer { bytes in
            let part = UnsafeBufferPointer(rebasing: bytes[range])
            if part.count <= 16_384 {
                output!.append(part)
                if output!.count > 65_536 { flush(output!) }
            } else {
                flush(output!, part)
            }
        }
    }

    func endStream() {
        if let remaining = answer.remaining, remaining > 0 {
            return cut()
        }
        if answer.isChunked { output!.append("0\r\n\r\n") }
        finish()
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
