internal import EventLoops

/// Reads of many callers on few connections: what a turn of the loop gathers shares syncs.
///
/// A connection's backend answers one read after the other. So a full sync leaves at once, while the turn gathers
/// more, and what the turn's end finds is shared among the connections, unless that makes syncs too small.
final class ReadLane: Lane {
    /// A sync costs the server and us a system call each, which many reads share.
    private static let leastPerSync = 8

    private var queue = Ring<ReadQuery>()
    private var dispatchPlanned = false
    private var sent = 0
    private lazy var timer = QueueTimer(loop)

    func submit(_ query: ReadQuery) {
        guard !isClosed else { return query.finish(.failure(.unavailable)) }
        guard queue.count < settings.queueLimit else { return query.finish(.failure(.overloaded)) }
        if isDown { return query.finish(.failure(.unavailable)) }
        queue.append(query)
        if queue.count >= settings.readsPerSync { dispatch() }
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
        let size = readsPerSync
        while !queue.isEmpty, let link = leastBusy() {
            var batch: [ReadQuery] = []
            batch.reserveCapacity(min(queue.count, size))
            while batch.count < size, let query = queue.popFirst() {
                batch.append(query)
            }
            send(batch, on: link)
        }
        if !queue.isEmpty {
            connectAnother()
            timer.arm(settings.acquireTimeout) { [unowned self] in failLate() }
        }
    }

    private var readsPerSync: Int {
        let ready = max(1, links.count { $0.isReady })
        let share = (queue.count + ready - 1) / ready
        return min(settings.readsPerSync, max(ReadLane.leastPerSync, share))
    }

    private func send(_ batch: [ReadQuery], on link: PostgresLink) {
        sent += 1
        for query in batch { query.cost?.askedShard(place, batch: sent) }
        link.send(
            ReadBatch(batch, check: settings.readCheck) { [unowned self] query in
                repeatAlone(query)
            }
        )
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
