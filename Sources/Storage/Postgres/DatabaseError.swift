/// What a database operation can fail with.
///
/// The text that PostgreSQL sent is for the log: it may quote a row's values and never goes to a stranger.
@usableFromInline
package enum DatabaseError: Error, Sendable, Hashable {
    /// No connection, or it was lost before the statement could have had an effect.
    case unavailable
    /// The statement took longer than its time, or waited longer for the server to answer.
    case timeout
    /// `control.fence` refused the write (SQLSTATE `TF001`); `hint` is the error's DETAIL, which names the
    /// next owner.
    case fenced(bucket: Int16?, hint: String?)
    case uniqueViolation(constraint: String)
    case checkViolation(constraint: String)
    case foreignKeyViolation(constraint: String)
    case notNullViolation(column: String)
    /// A deadlock or a serialization failure: the transaction was rolled back and may be tried again.
    case serialization
    /// The connection was lost after COMMIT had been sent: the transaction is there whole or not at all.
    case outcomeUnknown
    /// Any other refusal by the server.
    case query(sqlstate: String, message: String)
    /// A value that does not fit the type it is read as.
    case decoding(String)
    /// A queue is at its bound, or the server has no connection left.
    case overloaded
    /// The task was cancelled before the statement had an effect.
    case cancelled

    /// Whether the same operation may succeed when it is done again, and cannot be done twice by that.
    ///
    /// ``outcomeUnknown`` is not retryable by itself: only an operation that is idempotent may be repeated
    /// after it.
    package var isRetryable: Bool {
        switch self {
        case .unavailable, .timeout, .fenced, .serialization, .overloaded: true
        default: false
        }
    }
}
