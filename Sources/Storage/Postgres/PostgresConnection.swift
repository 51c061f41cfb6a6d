internal import CLibpq
internal import EventLoops

/// One connection that nobody else uses meanwhile, in the hands of the body it was lent to.
package final class PostgresConnection: @unchecked Sendable {
    // @unchecked: touched on its loop only, which every statement asserts.
    private let session: LinkSession

    init(_ session: LinkSession) {
        self.session = session
    }

    /// Lets statements take as long as `limit` from now on, or for ever; only for this loan.
    package func setTimeLimit(_ limit: Duration?) async throws(DatabaseError) {
        let milliseconds = limit?.wholeMilliseconds ?? 0
        try await query(SQL(unsafe: "SET statement_timeout = \(milliseconds)"))
        session.timeLimit = limit ?? .seconds(365 * 86_400)
    }

    /// Runs one statement in a transaction of its own, or in the one that earlier statements opened.
    @discardableResult
    package func query(_ sql: SQL) async throws(DatabaseError) -> Rows {
        try await session.run([sql], session.link.isInTransaction ? .step : .whole)[0]
    }

    /// Runs text of any number of statements, such as a migration file, as `psql -c` would: in one implicit
    /// transaction, unless the text says otherwise.
    package func script(_ text: String) async throws(DatabaseError) {
        let plain = try beginPlain()
        defer { session.link.endPlain(plain) }
        try await plain.run(text)
    }

    /// Sends rows in COPY's text or binary format, as the statement says, and returns how many went in.
    ///
    /// If `chunks` throws, the COPY is abandoned and no row stays.
    @discardableResult
    package func copyIn<Chunks: AsyncSequence>(
        _ statement: SQL,
        _ chunks: Chunks
    ) async throws -> Int where Chunks.Element == [UInt8] {
        precondition(statement.bindings.count == 0, "COPY takes no parameters")
        let plain = try beginPlain()
        defer { session.link.endPlain(plain) }
        try await plain.startCopy(statement.text, PGRES_COPY_IN)
        do {
            for try await chunk in chunks { try await plain.put(chunk) }
        } catch {
            if plain.isLost { throw error }
            PQputCopyEnd(plain.connection, "the sender gave up")
            try await plain.flush()
            _ = try? await plain.finish()  // Its error repeats that the sender gave up.
            throw error
        }
        guard PQputCopyEnd(plain.connection, nil) >= 0 else { throw DatabaseError.unavailable }
        try await plain.flush()
        return try await plain.finish()
    }

    /// Hands each row that `COPY … TO STDOUT` gives to `body`, which is waited for.
    ///
    /// If `body` throws, the connection is dropped: nothing else stops the server's output.
    @discardableResult
    package func copyOut(
        _ statement: SQL,
        _ body: ([UInt8]) async throws -> Void
    ) async throws -> Int {
        precondition(statement.bindings.count == 0, "COPY takes no parameters")
        let plain = try beginPlain()
        defer { session.link.endPlain(plain) }
        try await plain.startCopy(statement.text, PGRES_COPY_OUT)
        while let row = try await plain.nextCopyRow() { try await body(row) }
        return try await plain.finish()
    }

    /// Waits for the next NOTIFY on the channels that `LISTEN` statements named; nil when `timeout` passes.
    package func notification(
        within timeout: Duration
    ) async throws(DatabaseError) -> PostgresNotification? {
        let link = session.link
        guard session.isUsable else { throw .unavailable }
        if let waiting = link.takeNotification() { return waiting }
        await withUnsafeContinuation { (waiter: UnsafeContinuation<Void, Never>) in
            let timer = link.loop.after(timeout) { link.stopAwaitingNotification() }
            link.awaitNotification {
                timer.cancel()
                waiter.resume()
            }
        }
        guard session.isUsable else { throw .unavailable }
        return link.takeNotification()
    }

    /// Undoes what the body set in the session.
    func reset() async {
        guard session.isUsable else { return }
        do {
            if session.link.isInTransaction {
                _ = try await session.run([WriteLane.rollback], isShielded: true)
            }
            session.timeLimit = nil
            _ = try await session.run(["DISCARD ALL"], isShielded: true)
            session.link.forgetStatements()
        } catch {
            session.link.drop("DISCARD ALL failed: \(error)")
        }
    }

    private func beginPlain() throws(DatabaseError) -> PlainSession {
        session.link.loop.assertOnLoop()
        guard session.isUsable, let plain = session.link.beginPlain() else { throw .unavailable }
        let settings = session.link.settings
        plain.timeLimit = session.timeLimit ?? (settings.statementTimeout + settings.answerGrace)
        return plain
    }
}

/// What NOTIFY sent.
package struct PostgresNotification: Sendable, Hashable {
    package let channel: String
    package let payload: String
    package let backend: Int32

    init(_ notification: UnsafePointer<PGnotify>) {
        channel = String(cString: notification.pointee.relname)
        payload = String(cString: notification.pointee.extra)
        backend = notification.pointee.be_pid
    }
}
