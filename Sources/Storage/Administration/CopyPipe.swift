import CLibpq
import Glibc

/// Carries rows from a COPY on one server into a COPY on another, one row in memory at a time.
package struct CopyPipe {
    private let source: AdminSession
    private let target: AdminSession

    package init(from source: AdminSession, to target: AdminSession) {
        self.source = source
        self.target = target
    }

    /// Runs both statements and gives how many rows went through.
    ///
    /// `report` hears of every row's bytes and may take its time, or throw: then nothing stays on the target,
    /// and the session with the source is broken, since nothing else stops its output.
    package func run(
        out: String,
        into: String,
        report: (_ bytes: Int) throws -> Void
    ) throws -> Int64 {
        try source.start(out, PGRES_COPY_OUT)
        do {
            try target.start(into, PGRES_COPY_IN)
            while let bytes = try carryRow() { try report(bytes) }
            try source.finishCopyOut()
        } catch {
            // The error is what matters; a target that does not hear of it is broken by that.
            do { try target.endCopyIn(failing: "the mover gave up") } catch {}
            if !source.isBroken { _ = source.broken("the copy was given up") }
            throw error
        }
        return try target.endCopyIn(failing: nil)
    }

    /// Carries one row and gives its size; nil after the last.
    private func carryRow() throws(AdminError) -> Int? {
        while true {
            var row: UnsafeMutablePointer<CChar>?
            let count = PQgetCopyData(source.connection, &row, 1)
            defer { PQfreemem(row) }
            if count > 0 {
                try target.put(row!, count)
                return Int(count)
            }
            if count < 0 { return nil }
            try source.wait(Int16(POLLIN), until: source.answerTimeout.map { .now + $0 })
        }
    }
}

extension AdminSession {
    /// How much a COPY to a server buffers here before it waits for the server.
    static let copyBuffer = 256 << 10

    fileprivate func start(_ sql: String, _ expected: ExecStatusType) throws(AdminError) {
        guard PQsendQuery(connection, sql) == 1 else { throw broken("it takes no statement") }
        let result = try nextResult()
        defer { PQclear(result) }
        guard PQresultStatus(result) == expected else {
            let error = failure(of: result)
            while let rest = try nextResult() { PQclear(rest) }
            throw error
        }
        // Otherwise libpq itself would wait for the server, for as long as that takes.
        PQsetnonblocking(connection, 1)
    }

    /// Sends one row. libpq keeps what the server does not take at once, up to a bound.
    fileprivate func put(_ row: UnsafePointer<CChar>, _ count: Int32) throws(AdminError) {
        guard PQputCopyData(connection, row, count) == 1 else { throw broken("it takes no rows") }
        copied += Int(count)
        guard copied >= Self.copyBuffer else { return }
        copied = 0
        try flushCopy()
    }

    private func flushCopy() throws(AdminError) {
        let deadline = answerTimeout.map { ContinuousClock.now + $0 }
        while true {
            let left = PQflush(connection)
            if left == 0 { return }
            guard left == 1 else { throw broken("it takes no rows") }
            try wait(Int16(POLLIN | POLLOUT), until: deadline)
        }
    }

    fileprivate func finishCopyOut() throws(AdminError) {
        defer { PQsetnonblocking(connection, 0) }
        try readToEnd()
    }

    /// Ends the COPY, or has it fail; gives how many rows it took.
    @discardableResult
    fileprivate func endCopyIn(failing reason: String?) throws(AdminError) -> Int64 {
        guard !isBroken else { throw broken("it was lost during the copy") }
        guard PQputCopyEnd(connection, reason) == 1 else { throw broken("it takes no rows") }
        try flushCopy()
        PQsetnonblocking(connection, 0)
        return try readToEnd()
    }

    @discardableResult
    private func readToEnd() throws(AdminError) -> Int64 {
        var rows: Int64 = 0
        var failed: AdminError?
        while let result = try nextResult() {
            defer { PQclear(result) }
            if PQresultStatus(result) == PGRES_COMMAND_OK {
                rows = Int64(String(cString: PQcmdTuples(result))) ?? 0
            } else {
                failed = failed ?? failure(of: result)
            }
        }
        if let failed { throw failed }
        return rows
    }
}
