internal import CLibpq
internal import EventLoops

/// One connection of a lane: connects when told to, reconnects by itself, and carries groups in a pipeline.
///
/// Answers come in the order of the sends, so a queue of what was sent says whose answer arrives. When the
/// connection is lost every group in that queue learns it at once.
final class PostgresLink: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    /// Notifications kept for a listener that is slow; further ones are lost, as hints may be.
    static let notificationLimit = 1_024

    enum State { case idle, connecting, ready, waiting, closed }

    /// What is on the wire, each ended by a sync.
    private struct Sent {
        enum Content {
            case group(Group)
            case preparation(PreparedStatement)
            case deallocation
        }

        let content: Content
        let deadline: UInt64
    }

    let loop: EventLoop
    let settings: PostgresSettings
    /// Told when the link becomes ready, has finished a group, or has failed.
    unowned let lane: Lane

    private(set) var state = State.idle
    /// Statements on the wire.
    private(set) var inFlight = 0
    /// In use by one caller, who alone may send; the lanes' own mark.
    var isLeased = false

    private let blockingCalls: BlockingCalls
    private var backoff: Backoff
    private var attempt: ConnectionAttempt?
    private var hostIndex = 0
    private var hostsTried = 0
    private var retryTimer: LoopTimer?

    /// Which of its connections this is: a transaction does not survive into the next.
    private(set) var generation = 0
    private(set) var connection: OpaquePointer?
    private var poll: SocketPoll?
    private var wantsWrite = false
    private var sent = Ring<Sent>()
    private var sawResult = false
    private var cache: StatementCache
    private let parameters = ParameterBuffers()
    private var watchdog: LoopTimer?
    private var answersAtCancel: Int?
    private var answers = 0
    private var noticeReceiver: NoticeReceiver?
    private var closeWaiters: [() -> Void] = []
    private var closingPolls = 0
    /// Cancel requests of this connection under way; it may not serve another caller meanwhile, whom they
    /// could hit.
    private var cancelRequests = 0
    /// Has the connection to itself, out of pipeline mode, for COPY and scripts.
    private(set) var plain: PlainSession?
    private var notifications = Ring<PostgresNotification>()
    private var onNotification: (() -> Void)?

    init(loop: EventLoop, settings: PostgresSettings, blockingCalls: BlockingCalls, lane: Lane) {
        self.loop = loop
        self.settings = settings
        self.blockingCalls = blockingCalls
        self.lane = lane
        backoff = Backoff(settings.backoff)
        cache = StatementCache(limit: settings.statementCacheLimit)
    }

    var isReady: Bool { state == .ready }

    /// Whether a new caller may have it to himself.
    var isFree: Bool { state == .ready && !isLeased && sent.isEmpty && cancelRequests == 0 }

    /// Whether a transaction has been left open or failed on the server.
    var isInTransaction: Bool {
        connection.map { PQtransactionStatus($0) != PQTRANS_IDLE } ?? false
    }

    // MARK: Connecting

    func connect() {
        guard state == .idle else { return }
        state = .connecting
        hostsTried = 0
        tryHost()
    }

    private func tryHost() {
        let host = settings.hosts[hostIndex]
        let attempt = ConnectionAttempt(
            loop: loop,
            settings: settings,
            host: host,
            blockingCalls: blockingCalls
        ) { [unowned self] outcome in
            self.attempt = nil
            switch outcome {
            case .connected(let connection, let receiver):
                noticeReceiver = receiver
                connected(connection, host)
            case .failed(let reason): attemptFailed(host, reason)
            }
        }
        self.attempt = attempt
        attempt.start()
    }

    private func connected(_ made: OpaquePointer, _ host: PostgresSettings.Host) {
        connection = made
        guard PQsetnonblocking(made, 1) == 0, PQenterPipelineMode(made) == 1,
            let poll = SocketPoll(
                loop: loop,
                descriptor: PQsocket(made),
                onEvent: { [unowned self] in socketReady(status: $0, events: $1) }
            )
        else {
            PQfinish(connection.take())
            return attemptFailed(host, "no pipeline")
        }
        self.poll = poll
        generation += 1
        cancelRequests = 0
        wantsWrite = false
        poll.watch(SocketPoll.readable)
        cache = StatementCache(limit: settings.statementCacheLimit)
        backoff.succeeded()
        state = .ready
        settings.onEvent?(.connected(host: host.name, port: host.port))
        lane.linkReady(self)
    }

    private func attemptFailed(_ host: PostgresSettings.Host, _ reason: String) {
        settings.onEvent?(.connectFailed(host: host.name, port: host.port, reason: reason))
        hostIndex = (hostIndex + 1) % settings.hosts.count
        hostsTried += 1
        if hostsTried < settings.hosts.count { return tryHost() }
        retryLater()
        lane.linkFailed(self)
    }

    private func retryLater() {
        state = .waiting
        let delay = backoff.failed(jitter: .random(in: 0...1))
        retryTimer = loop.after(delay) { [unowned self] in
            retryTimer = nil
            state = .idle
            connect()
        }
    }

    // MARK: Losing and closing

    /// Drops the connection; whoever waits for an answer learns it, and a new one is made after a moment.
    func drop(_ reason: String) {
        guard state == .ready else { return }
        state = .idle
        settings.onEvent?(.lost(reason: reason))
        discardConnection()
        failEverythingSent()
        retryLater()
        lane.linkFailed(self)
    }

    func close(then done: @escaping () -> Void) {
        state = .closed
        attempt?.abandon()
        attempt = nil
        retryTimer?.cancel()
        retryTimer = nil
        closeWaiters.append(done)
        discardConnection()
        failEverythingSent()
        finishClosing()
    }

    private func discardConnection() {
        watchdog?.cancel()
        watchdog = nil
        let old = connection.take()
        guard let poll = poll.take() else { return PQfinish(old) }
        closingPolls += 1
        // The receiver must outlive the connection whose notices it takes.
        let receiver = noticeReceiver.take()
        poll.close { [self] in
            PQfinish(old)
            withExtendedLifetime(receiver) {}
            closingPolls -= 1
            finishClosing()
        }
    }

    private func finishClosing() {
        guard state == .closed, closingPolls == 0 else { return }
        let waiters = closeWaiters
        closeWaiters.removeAll()
        for waiter in waiters { waiter() }
    }

    private func failEverythingSent() {
        inFlight = 0
        sawResult = false
        answersAtCancel = nil
        let session = plain.take()
        session?.lost()
        while let entry = sent.popFirst() {
            if case .group(let group) = entry.content { group.lost() }
        }
        while notifications.popFirst() != nil {}
        let onNotification = onNotification.take()
        onNotification?()
    }

    // MARK: Sending

    /// Sends the group and a sync; its statements are prepared on the way when they are new here.
    func send(_ group: Group) {
        precondition(state == .ready && plain == nil, "this link cannot send now")
        let connection = self.connection!
        let limit = (group.timeLimit ?? settings.statementTimeout) + settings.answerGrace
        group.deadline = loop.milliseconds + limit.wholeMilliseconds
        let queued = prepare(group, on: connection) && queue(group, on: connection)
        group.move(to: 0)
        sent.append(Sent(content: .group(group), deadline: group.deadline))
        inFlight += group.count
        group.wasSent = queued
        guard queued, PQpipelineSync(connection) == 1 else { return drop(errorText) }
        flush()
        armWatchdog()
    }

    private func prepare(_ group: Group, on connection: OpaquePointer) -> Bool {
        cache.beginGroup()
        group.prepared.removeAll(keepingCapacity: true)
        group.preparedInside.removeAll(keepingCapacity: true)
        for index in 0..<group.count {
            let sql = group.sql(at: index)
            switch cache.find(sql) {
            case .prepared(let statement):
                group.prepared.append(statement)
                if group.preparesInside { group.preparedInside.append(false) }
            case .new(let statement, let evicted):
                group.prepared.append(statement)
                if let evicted, !sendDeallocation(of: evicted, before: group, on: connection) {
                    return false
                }
                if group.preparesInside {
                    group.preparedInside.append(true)
                } else if !sendPreparation(statement, sql, before: group, on: connection) {
                    return false
                }
            }
        }
        return true
    }

    private func queue(_ group: Group, on connection: OpaquePointer) -> Bool {
        for index in 0..<group.count {
            let statement = group.prepared[index]
            let sql = group.sql(at: index)
            if group.preparesInside, group.preparedInside[index],
                !parameters.sendPreparation(of: sql, as: statement, on: connection)
            {
                return false
            }
            guard parameters.sendQuery(sql, as: statement, on: connection) else { return false }
        }
        return true
    }

    /// Sends a preparation with a sync of its own: a neighbour's error cannot abort it, nor its error a
    /// neighbour.
    private func sendPreparation(
        _ statement: PreparedStatement,
        _ sql: SQL,
        before group: Group,
        on connection: OpaquePointer
    ) -> Bool {
        guard parameters.sendPreparation(of: sql, as: statement, on: connection),
            PQpipelineSync(connection) == 1
        else { return false }
        sent.append(Sent(content: .preparation(statement), deadline: group.deadline))
        return true
    }

    private func sendDeallocation(
        of statement: PreparedStatement,
        before group: Group,
        on connection: OpaquePointer
    ) -> Bool {
        let text = "DEALLOCATE " + statement.name
        guard PQsendQueryParams(connection, text, 0, nil, nil, nil, nil, 1) == 1,
            PQpipelineSync(connection) == 1
        else { return false }
        sent.append(Sent(content: .deallocation, deadline: group.deadline))
        return true
    }

    func flush() {
        guard let connection else { return }
        let left = PQflush(connection)
        guard left >= 0 else { return drop(errorText) }
        let wants = left == 1
        guard wants != wantsWrite else { return }
        wantsWrite = wants
        // Also readable while writing: a server that waits for us to read would never let us write.
        poll?.watch(wants ? SocketPoll.readable | SocketPoll.writable : SocketPoll.readable)
    }

    var errorText: String {
        guard let connection else { return "not connected" }
        let text = String(cString: PQerrorMessage(connection))
        return text.split(separator: "\n").joined(separator: " ")
    }

    // MARK: Receiving

    private func socketReady(status: Int32, events: Int32) {
        guard state == .ready, let connection else { return }
        guard status >= 0 else { return drop("poll: \(status)") }
        if let plain {
            poll?.pause()
            return plain.socketReady()
        }
        // Read before write: neither side may stop reading.
        if events & SocketPoll.readable != 0 {
            let consumed = PQconsumeInput(connection) == 1
            takeResults()
            guard state == .ready else { return }
            guard consumed, PQstatus(connection) != CONNECTION_BAD else { return drop(errorText) }
        }
        if wantsWrite { flush() }
    }

    private func takeResults() {
        guard let connection else { return }
        // Also parses what came unasked: notices, notifications.
        var isBusy = PQisBusy(connection) != 0
        takeNotifications(connection)
        while !sent.isEmpty, !isBusy {
            if let result = PQgetResult(connection) {
                answers += 1
                if !take(result) { return drop(errorText) }
                guard state == .ready, self.connection == connection else { return }
            } else {
                // The end of one statement's results; a second one in a row means that nothing is there.
                guard sawResult else { return }
                sawResult = false
                if case .group(let group)? = sent.first?.content { group.advance() }
            }
            isBusy = PQisBusy(connection) != 0
        }
    }

    /// Hands one result to whom it belongs; false if it says that the connection has gone.
    private func take(_ result: OpaquePointer) -> Bool {
        let status = PQresultStatus(result)
        if status == PGRES_PIPELINE_SYNC {
            PQclear(result)
            finishHead()
            return true
        }
        sawResult = true
        switch sent.first!.content {
        case .group(let group):
            guard group.expectsPreparation else { return answer(group, status, result) }
            return answerPreparation(of: group.prepared[group.cursor], status, result)
        case .preparation(let statement):
            return answerPreparation(of: statement, status, result)
        case .deallocation:
            PQclear(result)
            return true
        }
    }

    private func answerPreparation(
        of statement: PreparedStatement,
        _ status: ExecStatusType,
        _ result: OpaquePointer
    ) -> Bool {
        defer { PQclear(result) }
        guard status != PGRES_COMMAND_OK else { return true }
        cache.forget(statement)
        guard status != PGRES_PIPELINE_ABORTED else { return true }
        let refusal = ServerRefusal(result)
        statement.refusal = refusal.error
        report(refusal)
        return !refusal.sqlstate.isEmpty
    }

    private func answer(
        _ group: Group,
        _ status: ExecStatusType,
        _ result: OpaquePointer
    ) -> Bool {
        // After the last answer comes an error only, of the sync itself: the last statement's fault, or the
        // connection's.
        let index = min(group.cursor, group.count - 1)
        switch status {
        case PGRES_TUPLES_OK, PGRES_COMMAND_OK, PGRES_EMPTY_QUERY:
            group.answered(index, ResultOwner(result))
            return true
        case PGRES_PIPELINE_ABORTED:
            PQclear(result)
            if let reason = group.prepared[index].refusal {
                group.unprepared(index, reason)
            } else {
                group.aborted(index)
            }
            return true
        case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH:
            // libpq sends a COPY in pipeline mode and then cannot go on.
            PQclear(result)
            return false
        default:
            defer { PQclear(result) }
            let refusal = ServerRefusal(result)
            guard !refusal.sqlstate.isEmpty else { return false }
            refuse(group, index, refusal)
            return true
        }
    }

    private func refuse(_ group: Group, _ index: Int, _ refusal: ServerRefusal) {
        guard refusal.isStaleStatement else {
            report(refusal)
            return group.refused(index, refusal)
        }
        let statement = group.prepared[index]
        if let reason = statement.refusal {
            // It was sent while its preparation was still on the way, and that was refused.
            group.unprepared(index, reason)
        } else {
            cache.forget(statement)
            group.refused(index, refusal)
        }
    }

    private func report(_ refusal: ServerRefusal) {
        settings.onEvent?(.refused(sqlstate: refusal.sqlstate, message: refusal.message))
    }

    private func finishHead() {
        sawResult = false
        guard case .group(let group)? = sent.popFirst()?.content else { return }
        inFlight -= group.count
        group.synced()
        if state == .ready, sent.isEmpty || inFlight < settings.readsInFlight {
            lane.linkFreed(self)
        }
    }

    // MARK: Deadlines

    private func armWatchdog() {
        guard watchdog == nil, let deadline = sent.first?.deadline else { return }
        let now = loop.milliseconds
        let wait = deadline > now ? deadline - now : 0
        watchdog = loop.after(.milliseconds(Int64(wait))) { [unowned self] in checkDeadlines() }
    }

    /// What is too late is cancelled on the server; if then no answer comes either, the connection is given up.
    private func checkDeadlines() {
        watchdog = nil
        guard state == .ready, let head = sent.first else { return }
        guard head.deadline <= loop.milliseconds else {
            answersAtCancel = nil
            return armWatchdog()
        }
        if answersAtCancel == answers { return drop("no answer after a cancel request") }
        expireWhatIsLate()
        cancelOnServer()
        answersAtCancel = answers
        watchdog = loop.after(settings.answerGrace) { [unowned self] in checkDeadlines() }
    }

    private func expireWhatIsLate() {
        let now = loop.milliseconds
        for _ in 0..<sent.count {
            let entry = sent.popFirst()!
            if case .group(let group) = entry.content, entry.deadline <= now { group.expired() }
            sent.append(entry)
        }
    }

    /// Asks the server to cancel what runs on this connection now.
    ///
    /// The request reaches whatever runs when it arrives, so the link lends itself to nobody else before it is
    /// known to have arrived.
    func cancelOnServer() {
        guard let connection, let request = PQgetCancel(connection) else { return }
        // Owned by the thread from here on; libpq allows PQcancel on any thread.
        let address = UInt(bitPattern: request)
        let generation = self.generation
        let reply = LoopReply<Void>(loop) { [weak self] in self?.cancelEnded(generation) }
        let started = blockingCalls.start {
            let request = OpaquePointer(bitPattern: address)
            var message = [CChar](repeating: 0, count: 256)
            // Whether it arrived shows in the connection's answer, or in its absence.
            _ = PQcancel(request, &message, 256)
            PQfreeCancel(request)
            reply.send(())
        }
        if started { cancelRequests += 1 } else { PQfreeCancel(request) }
    }

    private func cancelEnded(_ generation: Int) {
        guard state == .ready, generation == self.generation else { return }
        cancelRequests -= 1
        lane.linkFreed(self)
    }

    // MARK: Out of pipeline mode, and notifications

    /// Gives the idle connection to a session of its own, for COPY and scripts.
    func beginPlain() -> PlainSession? {
        guard state == .ready, sent.isEmpty, plain == nil, let connection, let poll,
            PQexitPipelineMode(connection) == 1
        else { return nil }
        poll.pause()
        let session = PlainSession(loop: loop, connection: connection, poll: poll)
        plain = session
        return session
    }

    /// Takes the connection back; drops it if the session left it in the middle of something.
    func endPlain(_ session: PlainSession) {
        guard plain === session else { return }
        plain = nil
        guard let connection, PQenterPipelineMode(connection) == 1 else {
            return drop("left in the middle of a COPY")
        }
        wantsWrite = false
        poll?.watch(SocketPoll.readable)
    }

    /// Prepares every statement anew from now on: the server was told to forget them.
    func forgetStatements() {
        cache = StatementCache(limit: settings.statementCacheLimit)
    }

    private func takeNotifications(_ connection: OpaquePointer) {
        while let notification = PQnotifies(connection) {
            if notifications.count < Self.notificationLimit {
                notifications.append(PostgresNotification(notification))
            }
            PQfreemem(notification)
        }
        guard !notifications.isEmpty else { return }
        let onNotification = onNotification.take()
        onNotification?()
    }

    /// Calls `body` once, when a notification has come or the connection is lost.
    func awaitNotification(_ body: @escaping () -> Void) { onNotification = body }

    func stopAwaitingNotification() {
        let onNotification = onNotification.take()
        onNotification?()
    }

    func takeNotification() -> PostgresNotification? { notifications.popFirst() }
}
