internal import EventLoops

/// Whole transactions, one round trip each: BEGIN, the statements and COMMIT share a sync of their own.
///
/// A connection carries one write at a time. An error leaves its transaction open on the server, so a ROLLBACK
/// follows before the next write.
final class WriteLane: Lane {
    private var queue = Ring<Exchange>()
    private lazy var timer = QueueTimer(loop)
    /// Counts down, where the batches of reads count up.
    private var written = 0

    static let begin: SQL = "BEGIN"
    static let commit: SQL = "COMMIT"
    static let rollback: SQL = "ROLLBACK"

    /// Notes a write for the request that asks, where it counts; a sync of its own.
    func count(_ statements: [SQL]) {
        guard let cost = RequestCost.current else { return }
        written -= 1
        for _ in statements { cost.askedShard(place, batch: written) }
    }

    func submit(_ write: Exchange) {
        guard !isClosed else { return write.fail(.unavailable) }
        guard queue.count < settings.queueLimit else { return write.fail(.overloaded) }
        if isDown { return write.fail(.unavailable) }
        write.onSynced = { [unowned self] in finish($0) }
        queue.append(write)
        work()
    }

    override func work() {
        while !queue.isEmpty, let link = links.first(where: \.isFree) {
            if link.isInTransaction {
                rollBack(on: link)
            } else {
                link.send(queue.popFirst()!)
            }
        }
        if !queue.isEmpty {
            connectAnother()
            timer.arm(settings.acquireTimeout) { [unowned self] in failLate() }
        }
    }

    override func linkFreed(_ link: PostgresLink) {
        if link.isFree && link.isInTransaction { rollBack(on: link) }
        work()
    }

    private func rollBack(on link: PostgresLink) {
        link.send(Exchange([Self.rollback], submitted: loop.milliseconds, waiter: nil))
    }

    private func finish(_ write: Exchange) {
        // Nothing of it has happened, and its statements are prepared anew the second time.
        if write.isStale && !write.isRepeated {
            write.rewind()
            queue.append(write)
            return
        }
        write.finish()
        if write.sawReadOnlyHost {
            links.first { $0.isReady && $0.isInTransaction }?.drop("the host is read-only")
        }
    }

    private func failLate() {
        let horizon = waitHorizon
        while let write = queue.first, write.submitted <= horizon {
            _ = queue.popFirst()
            write.fail(waitError)
        }
        if !queue.isEmpty {
            timer.arm(settings.acquireTimeout) { [unowned self] in failLate() }
        }
    }

    override var hasWaiting: Bool { !queue.isEmpty }

    override func failWaiting(_ error: DatabaseError) {
        timer.cancel()
        while let write = queue.popFirst() { write.fail(error) }
    }
}
