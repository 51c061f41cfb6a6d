internal import EventLoops

/// A lent link, for as long as it stays the same connection: what one caller does with it, step by step.
final class LinkSession: @unchecked Sendable {
    // @unchecked: touched on its loop only; a cancelling thread only carries the reference there.
    let link: PostgresLink
    private let generation: Int
    private var current: Exchange?
    /// How long a statement may take, where that differs from the settings.
    var timeLimit: Duration?

    init(_ link: PostgresLink) {
        self.link = link
        generation = link.generation
    }

    var isUsable: Bool { link.isReady && link.generation == generation }

    /// Runs the statements in one round trip; a cancelled task has them cancelled on the server.
    func run(_ statements: [SQL]) async throws(DatabaseError) -> [Rows] {
        try await run(statements, commitIndex: nil, isCancellable: true)
    }

    /// Runs the statements up to a COMMIT at the end, whatever becomes of the task.
    func runToCommit(_ statements: [SQL]) async throws(DatabaseError) {
        _ = try await run(statements, commitIndex: statements.count - 1, isCancellable: false)
    }

    /// Runs the statements, whatever becomes of the task.
    func runShielded(_ statements: [SQL]) async throws(DatabaseError) {
        _ = try await run(statements, commitIndex: nil, isCancellable: false)
    }

    private func run(
        _ statements: [SQL],
        commitIndex: Int?,
        isCancellable: Bool
    ) async throws(DatabaseError) -> [Rows] {
        link.loop.assertOnLoop()
        precondition(current == nil, "two statements at a time in one transaction")
        for sql in statements { try PostgresPool.check(sql) }
        if isCancellable && Task.isCancelled { throw .cancelled }
        defer { current = nil }
        guard isCancellable else { return try await send(statements, commitIndex).get() }
        let outcome = await withTaskCancellationHandler {
            await send(statements, commitIndex)
        } onCancel: { [loop = link.loop] in
            loop.execute { self.cancel() }
        }
        return try outcome.get()
    }

    private func send(_ statements: [SQL], _ commitIndex: Int?) async -> Exchange.Outcome {
        await withUnsafeContinuation { waiter in
            let exchange = Exchange(
                statements,
                commitIndex: commitIndex,
                submitted: link.loop.milliseconds,
                waiter: waiter
            )
            guard isUsable else { return exchange.fail(.unavailable) }
            exchange.timeLimit = timeLimit
            current = exchange
            link.send(exchange)
        }
    }

    private func cancel() {
        guard let current, !current.isFinished, isUsable else { return }
        current.isCancelled = true
        link.cancelOnServer()
    }
}
