import CLibpq
import Glibc

/// One blocking session of an operator's command, or of a mover, with a PostgreSQL server.
///
/// It waits for the server, which must never happen on an event loop: command-line tools use it, and the
/// threads of an `Offload`. It speaks the simple protocol, so that a migration file with many statements is
/// one call.
package final class AdminSession: @unchecked Sendable {
    // @unchecked: whoever holds a session uses it alone, on one thread at a time.
    let connection: OpaquePointer

    package let host: String
    package let port: Int
    package let database: String

    /// How long connecting may take, in seconds.
    package static let connectTimeout = 5

    /// How often a wait for the server looks whether it should end.
    static let interruptionCheck = Duration.milliseconds(100)

    /// How long one statement may take to answer; for ever if nil.
    package var answerTimeout: Duration?

    /// Asked while the server is waited for: true ends the wait, and with it the session.
    package var isInterrupted: (@Sendable () -> Bool)?

    /// Which server it is, and in which life, where whoever opened the session has asked (``serverLife()``).
    package var server: String?

    /// The session ended in the middle of an answer, or lost its server.
    package private(set) var isBroken = false

    /// Bytes of a COPY that libpq may not have sent yet.
    var copied = 0

    /// `replication` opens a connection that also takes replication commands. `options` are settings of the
    /// session, by name.
    package init(
        host: String,
        port: Int,
        database: String,
        user: String,
        password: String,
        applicationName: String = "shardctl",
        replication: Bool = false,
        options: [(name: String, value: String)] = []
    ) throws(AdminError) {
        self.host = host
        self.port = port
        self.database = database
        let set = [("client_min_messages", "warning")] + options
        var settings = [
            ("host", host), ("port", String(port)), ("dbname", database), ("user", user),
            ("password", password), ("application_name", applicationName),
            ("connect_timeout", String(Self.connectTimeout)), ("client_encoding", "UTF8"),
            ("options", set.map { "-c \($0.0)=\($0.1)" }.joined(separator: " ")),
        ]
        if replication { settings.append(("replication", "database")) }
        connection = withCStrings(settings.map(\.0)) { names in
            withCStrings(settings.map(\.1)) { values in PQconnectdbParams(names, values, 0) }
        }!
        guard PQstatus(connection) == CONNECTION_OK else {
            // `deinit` runs for a failed initialiser, too, and finishes the connection.
            throw AdminError(
                unreachable: text(PQerrorMessage(connection)),
                at: "\(host):\(port)"
            )
        }
        // Warnings would be printed into the command's own output.
        PQsetNoticeProcessor(connection, { _, _ in }, nil)
    }

    deinit {
        PQfinish(connection)
    }

    /// Whether the server has ended the session while nobody asked it anything.
    package var hasEnded: Bool {
        var socket = pollfd(fd: PQsocket(connection), events: Int16(POLLIN), revents: 0)
        if poll(&socket, 1, 0) > 0, PQconsumeInput(connection) != 1 { isBroken = true }
        return isBroken || PQstatus(connection) != CONNECTION_OK
    }

    /// Runs one or many statements; all of them, or none, when no transaction control is among them.
    package func run(_ script: String) throws(AdminError) {
        guard PQsendQuery(connection, script) == 1 else { throw lost() }
        let result = try lastResult()
        defer { PQclear(result) }
        try check(result)
    }

    /// Runs one statement with parameters as text, and gives its rows as text.
    @discardableResult
    package func rows(
        _ sql: String,
        _ parameters: [String?] = []
    ) throws(AdminError) -> [[String?]] {
        let isSent = withCStrings(parameters) { values in
            PQsendQueryParams(connection, sql, Int32(parameters.count), nil, values, nil, nil, 0)
        }
        guard isSent == 1 else { throw lost() }
        let result = try lastResult()
        defer { PQclear(result) }
        try check(result)
        return cells(of: result)
    }

    /// Runs one replication command, on a session that was opened for replication, and gives its rows.
    package func replicationCommand(_ command: String) throws(AdminError) -> [[String?]] {
        guard PQsendQuery(connection, command) == 1 else { throw lost() }
        let result = try lastResult()
        defer { PQclear(result) }
        try check(result)
        return cells(of: result)
    }

    private func cells(of result: OpaquePointer?) -> [[String?]] {
        let columns = PQnfields(result)
        return (0..<PQntuples(result)).map { row in
            (0..<columns).map { column in
                PQgetisnull(result, row, column) == 1
                    ? nil : text(PQgetvalue(result, row, column))
            }
        }
    }

    /// The first column of the first row.
    package func value(_ sql: String, _ parameters: [String?] = []) throws(AdminError) -> String? {
        try rows(sql, parameters).first?.first ?? nil
    }

    /// Runs `body` in a transaction, which is rolled back when `body` throws.
    package func transaction(_ body: () throws -> Void) throws {
        try run("BEGIN")
        do {
            try body()
            try run("COMMIT")
        } catch {
            let failure = error
            // The failure is what matters; a rollback that fails too has lost its connection.
            do { try run("ROLLBACK") } catch {}
            throw failure
        }
    }

    /// An identifier, quoted for SQL.
    package func quoted(identifier: String) -> String {
        "\""
            + identifier.split(separator: "\"", omittingEmptySubsequences: false)
            .joined(separator: "\"\"") + "\""
    }

    /// A text, quoted for SQL.
    package func quoted(literal: String) -> String {
        let quoted = PQescapeLiteral(connection, literal, literal.utf8.count)
        defer { PQfreemem(quoted) }
        return text(quoted)
    }

    func check(_ result: OpaquePointer?) throws(AdminError) {
        switch PQresultStatus(result) {
        case PGRES_COMMAND_OK, PGRES_TUPLES_OK, PGRES_EMPTY_QUERY: return
        case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH:
            throw broken("a COPY where none was expected")
        default: throw failure(of: result)
        }
    }

    /// What the server, or libpq in its name, says in a result that is an error.
    func failure(of result: OpaquePointer?) -> AdminError {
        guard PQstatus(connection) == CONNECTION_OK else { return lost() }
        return AdminError(
            sqlstate: text(PQresultErrorField(result, Int32(UInt8(ascii: "C")))),
            message: text(PQresultErrorField(result, Int32(UInt8(ascii: "M")))),
            detail: text(PQresultErrorField(result, Int32(UInt8(ascii: "D"))))
        )
    }

    // MARK: Waiting

    /// The first error among a script's results, or the last result.
    private func lastResult() throws(AdminError) -> OpaquePointer? {
        var kept: OpaquePointer?
        var isError = false
        while true {
            let result: OpaquePointer?
            do throws(AdminError) {
                result = try nextResult()
            } catch {
                PQclear(kept)
                throw error
            }
            guard let result else { return kept }
            if isError {
                PQclear(result)
                continue
            }
            PQclear(kept)
            kept = result
            let status = PQresultStatus(result)
            isError = status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE
            // The COPY would never end; `check` breaks the session off.
            if status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH {
                return kept
            }
        }
    }

    /// The next result; nil when there are no more.
    func nextResult() throws(AdminError) -> OpaquePointer? {
        let deadline = answerTimeout.map { ContinuousClock.now + $0 }
        while PQflush(connection) == 1 { try wait(Int16(POLLIN | POLLOUT), until: deadline) }
        while PQisBusy(connection) == 1 { try wait(Int16(POLLIN), until: deadline) }
        return PQgetResult(connection)
    }

    /// Waits until the socket is ready for one of `events`, and takes in what has come.
    func wait(_ events: Int16, until deadline: ContinuousClock.Instant?) throws(AdminError) {
        while true {
            if isInterrupted?() == true { throw broken("it was interrupted") }
            if let deadline, ContinuousClock.now >= deadline { throw broken("no answer in time") }
            var socket = pollfd(fd: PQsocket(connection), events: events, revents: 0)
            let status = poll(&socket, 1, Int32(Self.interruptionCheck / .milliseconds(1)))
            guard status > 0 else { continue }
            if socket.revents & Int16(POLLOUT) != 0, events & Int16(POLLOUT) != 0 { return }
            guard PQconsumeInput(connection) == 1 else { throw lost() }
            return
        }
    }

    /// Gives the session up in the middle of an answer; it cannot be used any more.
    func broken(_ reason: String) -> AdminError {
        isBroken = true
        return AdminError(unreachable: reason, at: address)
    }

    private func lost() -> AdminError {
        isBroken = true
        return AdminError(unreachable: text(PQerrorMessage(connection)), at: address)
    }

    private var address: String { "\(host):\(port)" }
}

/// Why an operator's statement did not run.
package struct AdminError: Error, Sendable, CustomStringConvertible {
    package enum Kind: Sendable, Equatable {
        /// The server does not answer.
        case unreachable
        /// The server refused the password or the role.
        case denied
        /// The server refused the statement.
        case statement
    }

    package let kind: Kind
    package let sqlstate: String
    package let description: String

    init(unreachable message: String, at address: String) {
        let first = message.split(separator: "\n").first.map(String.init) ?? "no answer"
        kind =
            first.contains("authentication failed") || first.contains("does not exist")
            ? .denied : .unreachable
        sqlstate = ""
        description = kind == .denied ? first : "\(address) does not answer: \(first)"
    }

    init(sqlstate: String, message: String, detail: String) {
        kind = sqlstate == "42501" ? .denied : .statement
        self.sqlstate = sqlstate
        description = "\(message) (SQLSTATE \(sqlstate))" + (detail.isEmpty ? "" : ": \(detail)")
    }
}

func text(_ pointer: UnsafePointer<CChar>?) -> String {
    pointer.map { String(cString: $0) } ?? ""
}

func text(_ pointer: UnsafeMutablePointer<CChar>?) -> String {
    text(pointer.map { UnsafePointer($0) })
}

/// Calls `body` with a null-terminated array of C strings that live until it returns.
private func withCStrings<T>(
    _ strings: [String?],
    _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> T
) -> T {
    let copies = strings.map { $0.map { strdup($0) } ?? nil }
    defer { for copy in copies { free(copy) } }
    let pointers: [UnsafePointer<CChar>?] = copies.map { $0.map { UnsafePointer($0) } } + [nil]
    return pointers.withUnsafeBufferPointer { body($0.baseAddress!) }
}
