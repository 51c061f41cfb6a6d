internal import EventLoops

/// Reads of many callers on few connections: what a turn of the loop gathers shares one sync.
final class ReadLane: Lane {
    private var queue = Ring<ReadQuery>()
    private var dispatchPlanned = false
    private lazy var timer = QueueTimer(loop)

    func submit(_ query: ReadQuery) {
        guard !isClosed else { return query.finish(.failure(.unavailable)) }
        guard queue.count < settings.queueLimit else { return query.finish(.failure(.overloaded)) }
        if isDown { return query.finish(.failure(.unavailable)) }
        queue.append(query)
        work()
    }

    override func work() {
        guard !dispatchPlanned, !queue.isEmpty else { return }
        dispatchPlanned = true
        loop.atEndOfTurn { [self] in
            dispatchPlanned = false
            dispatch()
        }
    }

    private func dispatch() {
        while !queue.isEmpty, let link = leastBusy() {
            var batch: [ReadQuery] = []
            batch.reserveCapacity(min(queue.count, settings.readsPerSync))
            while batch.count < settings.readsPerSync, let query = queue.popFirst() {
                batch.append(query)
            }
            send(batch, on: link)
        }
        if !queue.isEmpty {
            connectAnother()
            timer.arm(settings.acquireTimeout) { [unowned self] in failLate() }
        }
    }

    private func send(_ batch: [ReadQuery], on link: PostgresLink) {
        link.send(ReadBatch(batch) { [unowned self] query in repeatAlone(query) })
    }

    /// Sends a query that a neighbour's error aborted, in a sync of its own.
    private func repeatAlone(_ query: ReadQuery) {
        loop.atEndOfTurn { [self] in
            guard let link = leastBusy() else { return query.finish(.failure(.unavailable)) }
            send([query], on: link)
        }
    }

    private func leastBusy() -> PostgresLink? {
        var best: PostgresLink?
        for link in links where link.isReady && link.inFlight < settings.readsInFlight {
            if best == nil || link.inFlight < best!.inFlight { best = link }
        }
        // Backends work in parallel, so a busy lane wants all its connections.
        if best == nil || best!.inFlight > 0 { connectAnother() }
        return best
    }

    private func failLate() {
        let horizon = waitHorizon
        while let query = queue.first, query.submitted <= horizon {
            _ = queue.popFirst()
            query.finish(.failure(waitError))
        }
        if !queue.isEmpty {
            timer.arm(settings.acquireTimeout) { [unowned self] in failLate() }
        }
    }

    override var hasWaiting: Bool { !queue.isEmpty }

    override func failWaiting(_ error: DatabaseError) {
        timer.cancel()
        while let query = queue.popFirst() { query.finish(.failure(error)) }
    }
}
