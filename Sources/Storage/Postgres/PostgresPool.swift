package import EventLoops

/// The connections of one loop to one shard, in three lanes.
///
/// Reads share connections and syncs; writes are whole transactions known beforehand, one round trip each;
/// whatever must look at a result before it goes on has a connection to itself. Every method is called on the
/// pool's loop, which is where a request's handler runs.
package final class PostgresPool: @unchecked Sendable {
    // @unchecked: touched on its loop only.
    package let loop: EventLoop
    package let settings: PostgresSettings

    package init(loop: EventLoop, settings: PostgresSettings) {
        self.loop = loop
        self.settings = settings
    }

    /// Runs one statement that changes nothing.
    ///
    /// It shares a sync with the other reads of this turn, so a write here could be rolled back by a stranger's
    /// error, and is sent again when a neighbour fails.
    package func read(_ sql: SQL) async throws(DatabaseError) -> Rows {
        fatalError("arrives with the read lane")
    }

    /// Runs the statements in one transaction and one round trip; their answers come in order.
    ///
    /// An error of any statement rolls back all of them. ``DatabaseError/outcomeUnknown`` means that the
    /// connection was lost after COMMIT had left.
    package func write(_ statements: [SQL]) async throws(DatabaseError) -> [Rows] {
        fatalError("arrives with the write lane")
    }

    /// Runs `body` in a READ COMMITTED transaction of its own; rolled back if `body` throws.
    package func transaction<T>(
        _ body: (PostgresTransaction) async throws -> T
    ) async throws -> T {
        fatalError("arrives with the exclusive lane")
    }

    /// Lends `body` a connection of its own, for COPY, LISTEN and administration.
    package func exclusive<T>(
        _ body: (PostgresConnection) async throws -> T
    ) async throws -> T {
        fatalError("arrives with the exclusive lane")
    }

    /// Fails whoever waits, closes every connection, and returns when they are gone.
    package func close() async {
        fatalError("arrives with the lanes")
    }
}

/// One open transaction; touched on its loop only, inside the body it was given to.
package final class PostgresTransaction: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    /// Runs one statement; BEGIN travels with the first one.
    @discardableResult
    package func query(_ sql: SQL) async throws(DatabaseError) -> Rows {
        fatalError("arrives with the exclusive lane")
    }

    /// Runs several statements in one round trip.
    @discardableResult
    package func query(_ statements: [SQL]) async throws(DatabaseError) -> [Rows] {
        fatalError("arrives with the exclusive lane")
    }
}

/// One connection that nobody else uses meanwhile; touched on its loop only.
package final class PostgresConnection: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    /// Runs one statement in a transaction of its own, or in the one that earlier statements opened.
    @discardableResult
    package func query(_ sql: SQL) async throws(DatabaseError) -> Rows {
        fatalError("arrives with the exclusive lane")
    }

    /// Runs text of any number of statements, such as a migration file, as `psql -c` would: in one implicit
    /// transaction, unless the text says otherwise.
    package func script(_ text: String) async throws(DatabaseError) {
        fatalError("arrives with the exclusive lane")
    }

    /// Sends rows in COPY's text or binary format, as the statement says, and returns how many went in.
    @discardableResult
    package func copyIn<Chunks: AsyncSequence>(
        _ statement: SQL,
        _ chunks: Chunks
    ) async throws -> Int where Chunks.Element == [UInt8] {
        fatalError("arrives with the exclusive lane")
    }

    /// Hands each row that `COPY … TO STDOUT` gives to `body`, which is waited for.
    @discardableResult
    package func copyOut(
        _ statement: SQL,
        _ body: ([UInt8]) async throws -> Void
    ) async throws -> Int {
        fatalError("arrives with the exclusive lane")
    }

    /// Waits for the next NOTIFY on the channels that `LISTEN` statements named; nil when `timeout` passes.
    package func notification(
        within timeout: Duration
    ) async throws(DatabaseError) -> PostgresNotification? {
        fatalError("arrives with the exclusive lane")
    }
}

/// What NOTIFY sent.
package struct PostgresNotification: Sendable, Hashable {
    package let channel: String
    package let payload: String
    package let backend: Int32
}
