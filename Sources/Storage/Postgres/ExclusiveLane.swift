internal import EventLoops

/// Connections that are lent whole, one caller at a time, in the order of asking.
final class ExclusiveLane: Lane {
    /// A caller who waits for a connection.
    private final class Waiter: @unchecked Sendable {
        // @unchecked: touched on the lane's loop only; a cancelling thread only carries the reference there.
        var submitted: UInt64 = 0
        var continuation: UnsafeContinuation<Result<PostgresLink, DatabaseError>, Never>?
        var isCancelled = false

        func finish(_ result: Result<PostgresLink, DatabaseError>) {
            let waiting = continuation.take()
            waiting?.resume(returning: result)
        }
    }

    private var queue = Ring<Waiter>()
    private lazy var timer = QueueTimer(loop)

    /// Lends a connection; the caller gives it back with ``giveBack(_:)``.
    func lend() async throws(DatabaseError) -> PostgresLink {
        let waiter = Waiter()
        let result = await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in
                waiter.continuation = continuation
                submit(waiter)
            }
        } onCancel: { [loop] in
            loop.execute {
                waiter.isCancelled = true
                waiter.finish(.failure(.cancelled))
            }
        }
        return try result.get()
    }

    private func submit(_ waiter: Waiter) {
        guard !isClosed else { return waiter.finish(.failure(.unavailable)) }
        guard queue.count < settings.queueLimit else { return waiter.finish(.failure(.overloaded)) }
        if isDown { return waiter.finish(.failure(.unavailable)) }
        if waiter.isCancelled { return waiter.finish(.failure(.cancelled)) }
        waiter.submitted = loop.milliseconds
        queue.append(waiter)
        work()
    }

    /// Takes a connection back, which must be clean: no transaction, no session state.
    func giveBack(_ link: PostgresLink) {
        link.isLeased = false
        if !isClosed { work() }
    }

    override func work() {
        while !queue.isEmpty, let link = links.first(where: \.isFree) {
            let waiter = queue.popFirst()!
            guard waiter.continuation != nil else { continue }
            link.isLeased = true
            waiter.finish(.success(link))
        }
        if !queue.isEmpty {
            connectAnother()
            timer.arm(settings.acquireTimeout) { [unowned self] in failLate() }
        }
    }

    private func failLate() {
        let horizon = waitHorizon
        while let waiter = queue.first, waiter.submitted <= horizon {
            _ = queue.popFirst()
            waiter.finish(.failure(waitError))
        }
        if !queue.isEmpty {
            timer.arm(settings.acquireTimeout) { [unowned self] in failLate() }
        }
    }

    override var hasWaiting: Bool { !queue.isEmpty }

    override func failWaiting(_ error: DatabaseError) {
        timer.cancel()
        while let waiter = queue.popFirst() { waiter.finish(.failure(error)) }
    }
}
