internal import CLibpq
internal import EventLoops

/// A connection out of pipeline mode, in the hands of one task: COPY and scripts.
///
/// The task calls libpq itself and waits here for the socket, so nothing is read before it is wanted.
final class PlainSession {
    let connection: OpaquePointer
    private let loop: EventLoop
    private let poll: SocketPoll
    private var waiter: UnsafeContinuation<DatabaseError?, Never>?
    private var timer: LoopTimer?
    private(set) var isLost = false
    var timeLimit: Duration?

    init(loop: EventLoop, connection: OpaquePointer, poll: SocketPoll) {
        self.loop = loop
        self.connection = connection
        self.poll = poll
    }

    func socketReady() { resume(nil) }

    func lost() {
        isLost = true
        resume(.unavailable)
    }

    /// Waits until the socket is ready for `events`.
    func wait(for events: Int32) async throws(DatabaseError) {
        let error = await withUnsafeContinuation {
            (waiter: UnsafeContinuation<DatabaseError?, Never>) in
            if isLost { return waiter.resume(returning: .unavailable) }
            self.waiter = waiter
            poll.watch(events)
            if let timeLimit {
                timer = loop.after(timeLimit) { [unowned self] in resume(.timeout) }
            }
        }
        if let error { throw error }
    }

    private func resume(_ error: DatabaseError?) {
        timer?.cancel()
        timer = nil
        let waiting = waiter.take()
        waiting?.resume(returning: error)
    }

    /// Sends what libpq still holds.
    func flush() async throws(DatabaseError) {
        while true {
            let left = PQflush(connection)
            if left == 0 { return }
            guard left == 1 else { throw .unavailable }
            try await wait(for: SocketPoll.readable | SocketPoll.writable)
            guard PQconsumeInput(connection) == 1 else { throw .unavailable }
        }
    }

    /// The next result; nil when there are no more.
    func nextResult() async throws(DatabaseError) -> ResultOwner? {
        while PQisBusy(connection) != 0 {
            try await wait(for: SocketPoll.readable)
            guard PQconsumeInput(connection) == 1 else { throw .unavailable }
        }
        return PQgetResult(connection).map { ResultOwner($0) }
    }

    /// Runs text in the simple protocol and reads every result; the first error is thrown after the last.
    func run(_ text: String) async throws(DatabaseError) {
        guard PQsendQuery(connection, text) == 1 else { throw .unavailable }
        try await flush()
        try await finish()
    }

    /// Reads results to the end; returns how many rows the last command touched.
    @discardableResult
    func finish() async throws(DatabaseError) -> Int {
        var failure: DatabaseError?
        var affected = 0
        while let result = try await nextResult() {
            switch PQresultStatus(result.pointer) {
            case PGRES_FATAL_ERROR, PGRES_BAD_RESPONSE:
                let refusal = ServerRefusal(result.pointer)
                failure = failure ?? refusal.error
                if refusal.sqlstate.isEmpty { throw failure! }
            case PGRES_COPY_IN:
                // A COPY where none was expected: refuse it, or it waits for ever.
                PQputCopyEnd(connection, "no COPY here")
                failure = failure ?? .query(sqlstate: "0A000", message: "COPY in a script")
            case PGRES_COPY_OUT, PGRES_COPY_BOTH:
                throw .query(sqlstate: "0A000", message: "COPY in a script")
            default:
                affected = Rows(result).affected
            }
        }
        if let failure { throw failure }
        return affected
    }

    /// Starts a COPY and returns once the server is in that state.
    func startCopy(_ text: String, _ expected: ExecStatusType) async throws(DatabaseError) {
        guard PQsendQuery(connection, text) == 1 else { throw .unavailable }
        try await flush()
        guard let result = try await nextResult() else { throw .unavailable }
        let status = PQresultStatus(result.pointer)
        if status == expected { return }
        let error: DatabaseError =
            status == PGRES_FATAL_ERROR
            ? ServerRefusal(result.pointer).error
            : .query(sqlstate: "0A000", message: "this statement is no such COPY")
        _ = try? await finish()  // The first error is the one to tell.
        throw error
    }

    func put(_ bytes: [UInt8]) async throws(DatabaseError) {
        let status = bytes.withUnsafeBytes {
            PQputCopyData(
                connection,
                $0.baseAddress?.assumingMemoryBound(to: CChar.self),
                Int32($0.count)
            )
        }
        guard status >= 0 else { throw .unavailable }
        try await flush()
    }

    /// The next row of COPY output; nil at the end, after which ``finish()`` tells how it went.
    func nextCopyRow() async throws(DatabaseError) -> [UInt8]? {
        while true {
            var row: UnsafeMutablePointer<CChar>?
            let count = PQgetCopyData(connection, &row, 1)
            defer { PQfreemem(row) }
            if count > 0 {
                return Array(UnsafeRawBufferPointer(start: row, count: Int(count)))
            }
            if count < 0 { return nil }
            try await wait(for: SocketPoll.readable)
            guard PQconsumeInput(connection) == 1 else { throw .unavailable }
        }
    }
}
