import EventLoops

extension HTTPConnection {
    /// Sends what is left, tells the peer that no more will come, and reads on for a moment: closing a
    /// socket with unread bytes would reset it and could take the answer away from the client.
    func closeGently() {
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

    /// Whoever is idle may bring one more request; see ``closeIfIdle()``.
    func serverDrains() {}

    func closeIfIdle() {
        switch phase {
        case .idle, .head: if partial.isEmpty { closeGently() }
        default: break
        }
    }

    /// Ends an answer that cannot be completed: only a closed connection tells the client so.
    func cut() {
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
}

// MARK: - Time

extension HTTPConnection {
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

    private static let headTooSlow = HTTPError(
        408,
        "The request's head took too long to arrive."
    )
    private static let bodyTooSlow = HTTPError(408, "The request's body arrived too slowly.")

    func timeOut() {
        server.statistics.timeouts += 1
        abort()
    }

    /// Cuts a client that does not read its answer.
    func checkReader(_ now: UInt64) {
        let queued = socket.queuedBytes
        guard queued > 0 else { return pace.restart(now) }
        pace.drained(to: queued)
        if pace.isTooSlow(now, limits) { timeOut() }
    }

    /// Fails the body of a client that does not send it; the handler's answer then ends the connection.
    func checkSender(_ now: UInt64) {
        guard pace.isTooSlow(now, limits) else { return }
        server.statistics.timeouts += 1
        body = nil
        answer.keepsAlive = false
        request?.body.fail(HTTPConnection.bodyTooSlow)
    }

    /// Answers for a handler that took too long, and drops what it may return later.
    func giveUp() {
        server.statistics.timeouts += 1
        let task = task.take()
        answer.keepsAlive = false
        let error = HTTPError.timedOut
        let response = server.hooks.errorResponse(error, request)
        _ = send(response)
        task?.cancel()
    }
}
