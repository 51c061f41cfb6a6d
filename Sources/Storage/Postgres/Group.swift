internal import CLibpq

/// What travels to the server between two syncs; an error rolls back all of it.
///
/// A connection calls these as answers arrive, each index at most once, then ``synced()`` or ``lost()``.
class Group {
    /// Milliseconds of the loop's clock after which the server is asked to cancel.
    final var deadline: UInt64 = 0
    /// How long its statements may take, where that differs from the settings.
    final var timeLimit: Duration?
    /// Whether a byte of it may have left.
    final var wasSent = false
    /// What each statement is prepared as on the connection that it was sent on.
    final var prepared: [PreparedStatement] = []
    /// Whether new statements are prepared inside the group, each just before it runs: then a later one may
    /// use what an earlier one creates, but an error of the group leaves them unprepared.
    final var preparesInside = false
    /// Which of `prepared` are prepared inside the group; empty if none can be.
    final var preparedInside: [Bool] = []
    /// The index of the statement whose answer comes next.
    final var cursor = 0
    /// Whether the next answer is to the preparation of the statement at `cursor`.
    final var expectsPreparation = false

    /// Notes that the answers to one preparation or one statement have come to their end.
    final func advance() {
        if expectsPreparation { expectsPreparation = false } else { move(to: cursor + 1) }
    }

    final func move(to index: Int) {
        cursor = index
        expectsPreparation = index < preparedInside.count && preparedInside[index]
    }

    var count: Int { preconditionFailure("abstract") }

    func sql(at index: Int) -> SQL { preconditionFailure("abstract") }

    /// Takes the result of a statement that ran.
    func answered(_ index: Int, _ result: ResultOwner) { preconditionFailure("abstract") }

    /// The statement was refused.
    func refused(_ index: Int, _ refusal: ServerRefusal) { preconditionFailure("abstract") }

    /// The statement could not be prepared, so it did not run; `error` is why.
    func unprepared(_ index: Int, _ error: DatabaseError) { preconditionFailure("abstract") }

    /// The statement did not run because an earlier one of the group was refused.
    func aborted(_ index: Int) { preconditionFailure("abstract") }

    /// All answers are in.
    func synced() { preconditionFailure("abstract") }

    /// No more answers will come.
    func lost() { preconditionFailure("abstract") }

    /// The deadline has passed; the connection is about to ask the server to cancel.
    func expired() {}
}

/// One read: a statement and the caller who waits for its rows.
final class ReadQuery {
    let sql: SQL
    let submitted: UInt64
    /// Whether it was sent again after a neighbour's error.
    var isRepeated = false
    private var waiter: UnsafeContinuation<Result<Rows, DatabaseError>, Never>?

    init(
        _ sql: SQL,
        submitted: UInt64,
        waiter: UnsafeContinuation<Result<Rows, DatabaseError>, Never>
    ) {
        self.sql = sql
        self.submitted = submitted
        self.waiter = waiter
    }

    var isFinished: Bool { waiter == nil }

    /// Resumes the caller, the first time.
    func finish(_ result: Result<Rows, DatabaseError>) {
        let waiting = waiter.take()
        waiting?.resume(returning: result)
    }
}

/// Reads of many callers that share a sync.
final class ReadBatch: Group {
    private let queries: [ReadQuery]
    private let repeatAlone: (ReadQuery) -> Void

    init(_ queries: [ReadQuery], repeatAlone: @escaping (ReadQuery) -> Void) {
        self.queries = queries
        self.repeatAlone = repeatAlone
    }

    override var count: Int { queries.count }

    override func sql(at index: Int) -> SQL { queries[index].sql }

    override func answered(_ index: Int, _ result: ResultOwner) {
        queries[index].finish(.success(Rows(result)))
    }

    override func refused(_ index: Int, _ refusal: ServerRefusal) {
        if refusal.isStaleStatement {
            tryAgain(queries[index], else: refusal.error)
        } else {
            queries[index].finish(.failure(refusal.error))
        }
    }

    override func unprepared(_ index: Int, _ error: DatabaseError) {
        queries[index].finish(.failure(error))
    }

    override func aborted(_ index: Int) {
        tryAgain(queries[index], else: .unavailable)
    }

    override func synced() {}

    override func lost() {
        for query in queries { query.finish(.failure(.unavailable)) }
    }

    override func expired() {
        for query in queries { query.finish(.failure(.timeout)) }
    }

    private func tryAgain(_ query: ReadQuery, else error: DatabaseError) {
        guard !query.isFinished else { return }
        if query.isRepeated { return query.finish(.failure(error)) }
        query.isRepeated = true
        repeatAlone(query)
    }
}

/// Statements of one caller that share a sync: a whole write, or a step of an interactive transaction.
final class Exchange: Group {
    typealias Outcome = Result<[Rows], DatabaseError>

    let statements: [SQL]
    let submitted: UInt64
    /// Where the statement stands after which nobody can know without asking.
    let commitIndex: Int?
    /// Whether the sync commits, and not a statement.
    private let commitsAtSync: Bool
    var isRepeated = false
    /// Asked to end early by its task's cancellation.
    var isCancelled = false
    private var isExpired = false
    private(set) var isStale = false
    private(set) var sawReadOnlyHost = false
    private var rows: [Rows] = []
    private var failure: DatabaseError?
    private var waiter: UnsafeContinuation<Outcome, Never>?
    /// Takes the outcome instead of the waiter when it wants to: a write that must be sent once more.
    var onSynced: ((Exchange) -> Void)?

    init(
        _ statements: [SQL],
        commitIndex: Int? = nil,
        commitsAtSync: Bool = false,
        submitted: UInt64,
        waiter: UnsafeContinuation<Outcome, Never>?
    ) {
        self.statements = statements
        self.commitIndex = commitIndex
        self.commitsAtSync = commitsAtSync
        self.submitted = submitted
        self.waiter = waiter
        super.init()
        preparesInside = true
        rows.reserveCapacity(statements.count)
    }

    var isFinished: Bool { waiter == nil }

    override var count: Int { statements.count }

    override func sql(at index: Int) -> SQL { statements[index] }

    override func answered(_ index: Int, _ result: ResultOwner) {
        rows.append(Rows(result))
    }

    override func refused(_ index: Int, _ refusal: ServerRefusal) {
        guard failure == nil else { return }
        isStale = refusal.isStaleStatement
        sawReadOnlyHost = refusal.isReadOnlyHost
        failure =
            index == commitIndex && refusal.leavesCommitUnknown ? .outcomeUnknown : refusal.error
    }

    override func unprepared(_ index: Int, _ error: DatabaseError) {
        if failure == nil { failure = error }
    }

    override func aborted(_ index: Int) {
        if failure == nil { failure = .unavailable }
    }

    override func synced() {
        if let onSynced { onSynced(self) } else { finish() }
    }

    override func lost() {
        if failure == nil && rows.count == statements.count && !commitsAtSync {
            resume(.success(rows))
        } else {
            resume(.failure(failure ?? lossError))
        }
    }

    private var lossError: DatabaseError {
        if commitIndex != nil && wasSent { return .outcomeUnknown }
        if isCancelled { return .cancelled }
        return isExpired ? .timeout : .unavailable
    }

    override func expired() { isExpired = true }

    func finish() {
        if let failure {
            resume(.failure(failure == .timeout && isCancelled ? .cancelled : failure))
        } else {
            resume(.success(rows))
        }
    }

    func fail(_ error: DatabaseError) {
        resume(.failure(error))
    }

    /// Forgets the answers, so that the same statements can be sent again.
    func rewind() {
        rows.removeAll(keepingCapacity: true)
        failure = nil
        isStale = false
        isRepeated = true
        cursor = 0
    }

    private func resume(_ outcome: Outcome) {
        let waiting = waiter.take()
        waiting?.resume(returning: outcome)
    }
}
