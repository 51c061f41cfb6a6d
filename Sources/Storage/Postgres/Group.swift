internal import CLibpq
internal import EventLoops

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
    /// Whether it is answered only when the check of its sync is in, whose value is then in ``check``.
    let wantsCheck: Bool
    /// Whether it was sent again after a neighbour's error.
    var isRepeated = false
    /// Of the request that asks, where it counts.
    let cost = RequestCost.current
    fileprivate(set) var check: Int64 = 0
    /// The answer, while the check is on its way.
    fileprivate var held: Rows?
    private var waiter: UnsafeContinuation<Result<Rows, DatabaseError>, Never>?

    init(_ sql: SQL, submitted: UInt64, wantsCheck: Bool) {
        self.sql = sql
        self.submitted = submitted
        self.wantsCheck = wantsCheck
    }

    func wait(_ waiter: UnsafeContinuation<Result<Rows, DatabaseError>, Never>) {
        self.waiter = waiter
    }

    var isFinished: Bool { waiter == nil }

    /// Resumes the caller, the first time.
    func finish(_ result: Result<Rows, DatabaseError>) {
        let waiting = waiter.take()
        waiting?.resume(returning: result)
    }
}

/// Reads of many callers that share a sync, with the check behind them when one of them wants it.
final class ReadBatch: Group {
    private let queries: [ReadQuery]
    private let checkSQL: SQL?
    private let repeatAlone: (ReadQuery) -> Void
    private var check: Result<Int64, DatabaseError>?

    init(_ queries: [ReadQuery], check: SQL?, repeatAlone: @escaping (ReadQuery) -> Void) {
        self.queries = queries
        checkSQL = queries.contains(where: \.wantsCheck) ? check : nil
        self.repeatAlone = repeatAlone
    }

    override var count: Int { queries.count + (checkSQL == nil ? 0 : 1) }

    override func sql(at index: Int) -> SQL {
        index < queries.count ? queries[index].sql : checkSQL!
    }

    override func answered(_ index: Int, _ result: ResultOwner) {
        guard index < queries.count else { return takeCheck(Rows(result)) }
        let query = queries[index]
        if query.wantsCheck {
            query.held = Rows(result)
        } else {
            query.finish(.success(Rows(result)))
        }
    }

    private func takeCheck(_ rows: Rows) {
        do throws(DatabaseError) {
            guard let value = try rows.first(as: Int64.self) else {
                throw .decoding("the check of a read has no row")
            }
            check = .success(value)
        } catch {
            check = .failure(error)
        }
    }

    override func refused(_ index: Int, _ refusal: ServerRefusal) {
        guard index < queries.count else {
            // A check that must be prepared anew is sent again with its reads.
            if !refusal.isStaleStatement { check = .failure(refusal.error) }
            return
        }
        if refusal.isStaleStatement {
            tryAgain(queries[index], else: refusal.error)
        } else {
            queries[index].finish(.failure(refusal.error))
        }
    }

    override func unprepared(_ index: Int, _ error: DatabaseError) {
        guard index < queries.count else { return check = .failure(error) }
        queries[index].finish(.failure(error))
    }

    override func aborted(_ index: Int) {
        if index < queries.count { tryAgain(queries[index], else: .unavailable) }
    }

    override func synced() {
        guard checkSQL != nil else { return }
        for query in queries {
            guard let rows = query.held.take() else { continue }
            switch check {
            case .success(let value):
                query.check = value
                query.finish(.success(rows))
            case .failure(let error): query.finish(.failure(error))
            // An error before it kept the check from running.
            case nil: tryAgain(query, else: .unavailable)
            }
        }
    }

    override func lost() {
        for query in queries { query.finish(.failure(.unavailable)) }
    }

    override func expired() {
        for query in queries {
            // What has been answered is not what takes so long.
            if query.held.take() != nil {
                tryAgain(query, else: .timeout)
            } else {
                query.finish(.failure(.timeout))
            }
        }
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
