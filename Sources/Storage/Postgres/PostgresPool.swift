package import EventLoops

/// The connections of one loop to one shard, in three lanes.
///
/// Reads share connections and syncs; writes are whole transactions known beforehand, one round trip each;
/// whatever must look at a result before it goes on has a connection to itself. Every method is called on the
/// pool's loop, which is where a request's handler runs. Connections are made when first needed and kept; they
/// come back by themselves. Close the pool before its loop stops.
package final class PostgresPool: @unchecked Sendable {
    // @unchecked: touched on its loop only, which every method asserts.
    package let loop: EventLoop
    package let settings: PostgresSettings

    private let reads: ReadLane
    private let writes: WriteLane
    private let exclusives: ExclusiveLane

    package init(loop: EventLoop, settings: PostgresSettings) {
        self.loop = loop
        self.settings = settings
        let calls = BlockingCalls()
        reads = ReadLane(
            loop: loop,
            settings: settings,
            connections: settings.readConnections,
            blockingCalls: calls
        )
        writes = WriteLane(
            loop: loop,
            settings: settings,
            connections: settings.writeConnections,
            blockingCalls: calls
        )
        exclusives = ExclusiveLane(
            loop: loop,
            settings: settings,
            connections: settings.exclusiveConnections,
            blockingCalls: calls
        )
    }

    /// Runs one statement that changes nothing.
    ///
    /// It shares a sync with the other reads of this turn, so a write here could be rolled back by a stranger's
    /// error, and is sent again when a neighbour fails. A read on the wire is not interrupted when its task is
    /// cancelled; the statement timeout bounds it.
    package func read(_ sql: SQL) async throws(DatabaseError) -> Rows {
        try await answer(ReadQuery(sql, submitted: loop.milliseconds, wantsCheck: false))
    }

    /// As ``read(_:)``, with the value that ``PostgresSettings/readCheck`` had after the statement had run.
    ///
    /// The check runs once for all reads of a sync, behind them, so each is answered when the last one is.
    package func checkedRead(
        _ sql: SQL
    ) async throws(DatabaseError) -> (rows: Rows, check: Int64) {
        precondition(settings.readCheck != nil, "this pool has no check")
        let query = ReadQuery(sql, submitted: loop.milliseconds, wantsCheck: true)
        let rows = try await answer(query)
        return (rows, query.check)
    }

    private func answer(_ query: ReadQuery) async throws(DatabaseError) -> Rows {
        loop.assertOnLoop()
        try Self.check(query.sql)
        return try await withUnsafeContinuation { waiter in
            query.wait(waiter)
            reads.submit(query)
        }.get()
    }

    /// Runs the statements in one transaction and one round trip; their answers come in order.
    ///
    /// An error of any statement rolls back all of them. ``DatabaseError/outcomeUnknown`` means that the
    /// connection was lost after COMMIT had left.
    package func write(_ statements: [SQL]) async throws(DatabaseError) -> [Rows] {
        loop.assertOnLoop()
        for sql in statements { try Self.check(sql) }
        writes.count(statements)
        let whole = [WriteLane.begin] + statements + [WriteLane.commit]
        let rows = try await withUnsafeContinuation { waiter in
            writes.submit(
                Exchange(
                    whole,
                    commitIndex: whole.count - 1,
                    submitted: loop.milliseconds,
                    waiter: waiter
                )
            )
        }.get()
        return Array(rows.dropFirst().dropLast())
    }

    /// Runs `body` in a READ COMMITTED transaction of its own; rolled back if `body` throws.
    ///
    /// If a statement was refused, the transaction cannot commit, even if `body` caught the error: then the
    /// statement's error is thrown.
    package func transaction<T>(
        _ body: (PostgresTransaction) async throws -> T
    ) async throws -> T {
        loop.assertOnLoop()
        let link = try await exclusives.lend()
        let transaction = PostgresTransaction(LinkSession(link))
        do {
            let value = try await body(transaction)
            try await transaction.commit()
            exclusives.giveBack(link)
            return value
        } catch {
            await transaction.rollBack()
            exclusives.giveBack(link)
            throw error
        }
    }

    /// Lends `body` a connection of its own, for COPY, LISTEN and administration.
    ///
    /// Whatever `body` sets in the session is undone afterwards.
    package func exclusive<T>(
        _ body: (PostgresConnection) async throws -> T
    ) async throws -> T {
        loop.assertOnLoop()
        let link = try await exclusives.lend()
        let connection = PostgresConnection(LinkSession(link))
        do {
            let value = try await body(connection)
            await connection.reset()
            exclusives.giveBack(link)
            return value
        } catch {
            await connection.reset()
            exclusives.giveBack(link)
            throw error
        }
    }

    /// Lets what is under way and what waits end, as long as that may take by the settings, then closes.
    package func retire() async {
        loop.assertOnLoop()
        let patience =
            settings.acquireTimeout + settings.statementTimeout + settings.answerGrace
        let deadline = loop.milliseconds + patience.wholeMilliseconds
        while ![reads, writes, exclusives].allSatisfy(\Lane.isIdle), loop.milliseconds < deadline {
            await withUnsafeContinuation { continuation in
                loop.after(Self.retirePoll) { continuation.resume() }
            }
        }
        await close()
    }

    private static let retirePoll = Duration.milliseconds(10)

    /// Fails whoever waits, closes every connection, and returns when they are gone.
    package func close() async {
        loop.assertOnLoop()
        await withUnsafeContinuation { continuation in
            var open = 3
            for lane in [reads, writes, exclusives] as [Lane] {
                lane.close {
                    open -= 1
                    if open == 0 { continuation.resume() }
                }
            }
        }
    }

    static func check(_ sql: SQL) throws(DatabaseError) {
        if sql.bindings.hasNUL {
            throw .query(sqlstate: "22021", message: "text with a NUL character")
        }
        if sql.bindings.count > Bindings.limit {
            throw .query(sqlstate: "54023", message: "more than \(Bindings.limit) parameters")
        }
    }
}
