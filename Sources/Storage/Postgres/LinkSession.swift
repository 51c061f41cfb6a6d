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

    /// What a statement is to the transaction that it runs in.
    enum Kind {
        /// One of a transaction that is open already, or that the statements open.
        case step
        /// The last one commits.
        case commit
        /// No transaction is open: the sync commits.
        case whole
    }

    /// Runs the statements in one round trip; a cancelled task has them cancelled on the server, unless they
    /// are shielded.
    func run(
        _ statements: [SQL],
        _ kind: Kind = .step,
        isShielded: Bool = false
    ) async throws(DatabaseError) -> [Rows] {
        link.loop.assertOnLoop()
        precondition(current == nil, "two statements at a time in one transaction")
        for sql in statements { try PostgresPool.check(sql) }
        defer { current = nil }
        if isShielded { return try await send(statements, kind).get() }
        if Task.isCancelled { throw .cancelled }
        let outcome = await withTaskCancellationHandler {
            await send(statements, kind)
        } onCancel: { [loop = link.loop] in
            loop.execute { self.cancel() }
        }
        return try outcome.get()
    }

    private func send(_ statements: [SQL], _ kind: Kind) async -> Exchange.Outcome {
        await withUnsafeContinuation { waiter in
            let exchange = Exchange(
                statements,
                commitIndex: kind == .step ? nil : statements.count - 1,
                commitsAtSync: kind == .whole,
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
