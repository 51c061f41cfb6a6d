internal import CLibpq

/// An error that the server, or libpq in its name, gave as a statement's result.
struct ServerRefusal {
    let sqlstate: String
    let message: String
    private let detail: String?
    private let constraint: String
    private let column: String

    init(_ result: OpaquePointer) {
        sqlstate = Self.field("C", of: result) ?? ""
        message =
            Self.field("M", of: result) ?? String(cString: PQresultErrorMessage(result))
        detail = Self.field("D", of: result)
        constraint = Self.field("n", of: result) ?? ""
        column = Self.field("c", of: result) ?? ""
    }

    var error: DatabaseError {
        switch sqlstate {
        case "TF001": .fenced(bucket: Self.bucket(in: detail), hint: detail)
        case "23505": .uniqueViolation(constraint: constraint)
        case "23514": .checkViolation(constraint: constraint)
        case "23503": .foreignKeyViolation(constraint: constraint)
        case "23502": .notNullViolation(column: column)
        case "40001", "40P01": .serialization
        case "57014", "55P03", "25P03": .timeout
        case "53300", "53200": .overloaded
        case "25006": .unavailable
        default:
            // A stale statement fails before it runs, and is prepared anew the next time.
            isStaleStatement
                ? .serialization
                : endsConnection ? .unavailable : .query(sqlstate: sqlstate, message: message)
        }
    }

    /// The server is going away or the connection is gone; an empty SQLSTATE is libpq's own report.
    var endsConnection: Bool {
        sqlstate.isEmpty || sqlstate.hasPrefix("08") || sqlstate.hasPrefix("57P")
            || sqlstate == "25P03"
    }

    /// The host accepts no writes: it was demoted, or was never the primary.
    var isReadOnlyHost: Bool { sqlstate == "25006" }

    /// Whether a COMMIT that was refused so may have committed nevertheless.
    ///
    /// The backend looks for cancellation and shutdown after the commit record is written, too.
    var leavesCommitUnknown: Bool { endsConnection || sqlstate == "57014" }

    /// The statement must be prepared anew: it is not there, or the tables changed under it.
    var isStaleStatement: Bool {
        sqlstate == "26000" || (sqlstate == "0A000" && message.contains("cached plan"))
    }

    private static func field(_ code: Unicode.Scalar, of result: OpaquePointer) -> String? {
        PQresultErrorField(result, Int32(code.value)).map { String(cString: $0) }
    }

    /// The fence's detail reads `bucket=B state=S epoch=E next=SHARD`.
    private static func bucket(in detail: String?) -> Int16? {
        let words = detail?.split(separator: " ") ?? []
        return words.first { $0.hasPrefix("bucket=") }.flatMap { Int16($0.dropFirst(7)) }
    }
}
