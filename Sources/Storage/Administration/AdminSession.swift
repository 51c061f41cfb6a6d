import CLibpq
import Glibc

/// One blocking session of an operator's command with a PostgreSQL server.
///
/// Only command-line tools use it: it waits in libpq, which must never happen on an event loop. It speaks
/// the simple protocol, so that a migration file with many statements is one call.
package final class AdminSession {
    private let connection: OpaquePointer

    /// How long connecting may take, in seconds.
    package static let connectTimeout = 5

    package init(
        host: String,
        port: Int,
        database: String,
        user: String,
        password: String
    ) throws(AdminError) {
        let settings = [
            ("host", host), ("port", String(port)), ("dbname", database), ("user", user),
            ("password", password), ("application_name", "shardctl"),
            ("connect_timeout", String(Self.connectTimeout)), ("client_encoding", "UTF8"),
            ("options", "-c client_min_messages=warning"),
        ]
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

    /// Runs one or many statements; all of them, or none, when no transaction control is among them.
    package func run(_ script: String) throws(AdminError) {
        let result = PQexec(connection, script)
        defer { PQclear(result) }
        try check(result)
    }

    /// Runs one statement with parameters as text, and gives its rows as text.
    @discardableResult
    package func rows(
        _ sql: String,
        _ parameters: [String?] = []
    ) throws(AdminError) -> [[String?]] {
        let result = withCStrings(parameters) { values in
            PQexecParams(connection, sql, Int32(parameters.count), nil, values, nil, nil, 0)
        }
        defer { PQclear(result) }
        try check(result)
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

    private func check(_ result: OpaquePointer?) throws(AdminError) {
        switch PQresultStatus(result) {
        case PGRES_COMMAND_OK, PGRES_TUPLES_OK, PGRES_EMPTY_QUERY: return
        default:
            guard PQstatus(connection) == CONNECTION_OK else {
                throw AdminError(
                    unreachable: text(PQerrorMessage(connection)),
                    at: "\(text(PQhost(connection))):\(text(PQport(connection)))"
                )
            }
            throw AdminError(
                sqlstate: text(PQresultErrorField(result, Int32(UInt8(ascii: "C")))),
                message: text(PQresultErrorField(result, Int32(UInt8(ascii: "M")))),
                detail: text(PQresultErrorField(result, Int32(UInt8(ascii: "D"))))
            )
        }
    }
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

private func text(_ pointer: UnsafePointer<CChar>?) -> String {
    pointer.map { String(cString: $0) } ?? ""
}

private func text(_ pointer: UnsafeMutablePointer<CChar>?) -> String {
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
