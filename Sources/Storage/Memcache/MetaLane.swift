import EventLoops
import Sharding

/// The way from one loop to one memcached by the meta protocol: what gathers in a turn is sent in one write at its end,
/// and answers come in the order of the questions.
///
/// Each round of commands ends with the question for the node's stamp, and is believed only if it names the
/// incarnation by which the round's names were made, and no newer map than the round's (``NodeStamp``). A node that
/// answers too late, or nonsense, is left alone for a while: its keys are misses at once, and only the lane knocks.
final class MetaLane: CacheLane, MetaConnectionOwner, @unchecked Sendable {
    // @unchecked: touched on its loop only.

    /// How often a round is sent before it is given up: the node changes its incarnation all the time.
    private static let roundAttempts = 4

    /// How many bytes of values may wait for the node.
    private static let valueBytesLimit = 64 << 20

    /// A loop that stood still finds its time over and the answers in its sockets: so it looks there first.
    private static let grace = Duration.milliseconds(5)

    /// What arrives bit by bit may take this many times the node's time.
    private static let slowness: UInt64 = 5

    private enum State {
        case idle
        case connecting(MetaConnection)
        /// Getting to know its stamp, or renewing it.
        case learning(MetaConnection, StampWork)
        case ready(MetaConnection)
        /// Nothing is asked until the timer rings.
        case resting
        case closed
    }

    /// What is under way on the connection.
    private enum Flight {
        case round(MetaRound)
        /// A step of ``StampWork``.
        case step(opaque: UInt32, sent: UInt64)

        var sent: UInt64 {
            switch self {
            case .round(let round): round.sent
            case .step(_, let sent): sent
            }
        }
    }

    let node: CacheNode
    private let loop: EventLoop
    private let settings: CacheSettings
    private let stampName: MetaName
    private let poolName: String
    private let confirm: @Sendable (Int64) async -> Bool

    private(set) var isUp = true {
        didSet { if oldValue, !isUp { statistics.ejections += 1 } }
    }
    private(set) var isStale = false
    private(set) var renewals = 0
    private(set) var statistics = CacheStatistics()

    /// Of the newest map that names the node here.
    private var generation: Int64
    private var state = State.idle
    private var stamp: NodeStamp?
    private var prefix: [UInt8] = []
    private var writer = MetaWriter(opaque: 0)

    private var open: MetaRound?
    private var queue: [MetaRound] = []
    private var flights = Ring<Flight>()
    private var waiting = 0
    private var valueBytes = 0
    private var isFlushDue = false
    private var isClosing = false

    /// Since when the present step towards a usable connection is awaited.
    private var stepBegan: UInt64 = 0
    private var clock: LoopTimer?
    private var graceFor: Int?
    private var pause: Duration
    private var rest: LoopTimer?
    /// Whether a round has ended well since the last connection was made.
    private var hasAnswered = false

    init(
        loop: EventLoop,
        pool: CachePool,
        node: CacheNode,
        generation: Int64,
        settings: CacheSettings,
        confirm: @escaping @Sendable (Int64) async -> Bool
    ) {
        self.loop = loop
        self.node = node
        self.generation = generation
        self.settings = settings
        self.confirm = confirm
        poolName = pool.rawValue
        stampName = MetaName(prefix: [], name: NodeStamp.name(of: pool))
        pause = settings.retry
        loop.onStop { [weak self] in self?.stop() }
    }

    // MARK: What is asked

    func markStale() { isStale = true }

    func adopt(generation newer: Int64) { generation = newer }

    func submit(_ command: CacheCommand, generation asked: Int64, _ waiter: CacheWaiter) {
        guard !isClosing else { return waiter.resume(.outdated) }
        guard isUp, waiting < settings.queueLimit, valueBytes < Self.valueBytesLimit else {
            if command.leavesStale { isStale = true }
            statistics.refused += 1
            return waiter.resume(command.whenUnavailable)
        }
        waiting += 1
        valueBytes += command.valueBytes
        openRound(asked).add(command, waiter)
    }

    private func openRound(_ asked: Int64) -> MetaRound {
        if let open, open.generation == asked, !open.isFull { return open }
        let round = MetaRound(generation: asked, began: loop.milliseconds)
        open = round
        queue.append(round)
        if !isFlushDue {
            isFlushDue = true
            loop.atEndOfTurn { [self] in flush() }
        }
        return round
    }

    private func flush() {
        isFlushDue = false
        open = nil
        switch state {
        case .idle: connect()
        case .ready(let connection):
            if isStale { learn(connection) } else { send(connection) }
        case .connecting, .learning, .resting, .closed: break
        }
        watch()
    }

    /// Sends whatever waits, in one write.
    private func send(_ connection: MetaConnection) {
        guard let stamp, !queue.isEmpty else { return }
        let due = queue
        queue.removeAll(keepingCapacity: true)
        writer.clear()
        let now = loop.milliseconds
        for round in due {
            guard round.generation >= stamp.generation else {
                finish(round, round.asks.map { _ in .outdated })
                continue
            }
            round.attempts += 1
            round.incarnation = stamp.incarnation
            round.sent = now
            round.write(to: &writer, prefix: prefix, stampName: stampName)
            flights.append(.round(round))
        }
        connection.send(writer.bytes)
    }

    // MARK: What is answered

    func answered(_ connection: MetaConnection, _ answer: MetaAnswer) throws -> Bool {
        guard isCurrent(connection) else { return false }
        guard let flight = flights.first else {
            throw MetaViolation(reason: "an answer that nobody asked for")
        }
        switch flight {
        case .step(let opaque, _):
            try check(answer, opaque)
            _ = flights.popFirst()
            step(connection, stampEvent(answer))
            watch()
        case .round(let round):
            try check(answer, round.opaque &+ UInt32(round.replies.count))
            guard round.replies.count == round.asks.count else {
                if let won = try round.take(answer) {
                    waiting += 1
                    openRound(round.generation).giveBack(won.key, unique: won.unique)
                }
                break
            }
            guard answer.code == .value || answer.code == .absent else {
                throw MetaViolation(reason: "no answer to the question for the stamp")
            }
            _ = flights.popFirst()
            end(round, by: stamp(in: answer), connection)
        }
        return true
    }

    private func check(_ answer: MetaAnswer, _ opaque: UInt32) throws {
        guard answer.code == .refused || answer.opaque == opaque else {
            throw MetaViolation(reason: "an answer out of its turn")
        }
    }

    private func stamp(in answer: MetaAnswer) -> NodeStamp? {
        answer.code == .value
            ? NodeStamp(text: String(decoding: answer.value, as: UTF8.self)) : nil
    }

    /// All is answered; `found` says whether it is true.
    private func end(_ round: MetaRound, by found: NodeStamp?, _ connection: MetaConnection) {
        guard let found, found.incarnation == round.incarnation else {
            // The node has forgotten everything, or somebody has put it out of reach.
            if case .ready = state { learn(connection) }
            return again(round)
        }
        // Of a round that was sent before a renewal this says nothing any more.
        if found.incarnation == stamp?.incarnation { stamp = found }
        hasAnswered = true
        guard round.generation >= found.generation else {
            return finish(round, round.asks.map { _ in .outdated })
        }
        finish(round, round.replies)
    }

    private func again(_ round: MetaRound) {
        guard round.attempts < Self.roundAttempts else { return refuse(round) }
        queue.append(round)
        if case .ready(let connection) = state { send(connection) }
    }

    private func finish(_ round: MetaRound, _ replies: [CacheReply]) {
        for (ask, reply) in zip(round.asks, replies) {
            let count = 1 + ask.more.count
            switch reply {
            case .value(.some): statistics.hits += count
            case .value(nil): statistics.misses += count
            case .lease(let lease):
                if case .filled = lease.reservation {
                    statistics.hits += count
                } else {
                    statistics.misses += count
                }
            default: break
            }
        }
        leave(round)
        round.finish(replies)
    }

    private func refuse(_ round: MetaRound) {
        if round.leavesStale { isStale = true }
        leave(round)
        round.finish()
    }

    private func leave(_ round: MetaRound) {
        waiting -= round.waiters
        valueBytes -= round.valueBytes
        if isClosing, waiting == 0 { endConnection() }
    }

    // MARK: Connecting

    private func isCurrent(_ connection: MetaConnection) -> Bool { current === connection }

    private var current: MetaConnection? {
        switch state {
        case .connecting(let connection), .learning(let connection, _), .ready(let connection):
            connection
        case .idle, .resting, .closed: nil
        }
    }

    private func connect() {
        let connection = MetaConnection(loop: loop, owner: self)
        state = .connecting(connection)
        hasAnswered = false
        stepBegan = loop.milliseconds
        connection.open(host: node.host, port: node.port)
    }

    func connected(_ connection: MetaConnection) {
        guard case .connecting(let mine) = state, mine === connection else { return }
        stamp = nil
        learn(connection)
    }

    /// Gets to know the stamp; what may be stale is put out of reach first.
    private func learn(_ connection: MetaConnection) {
        let work = StampWork(renews: isStale, newest: generation)
        isStale = false
        state = .learning(connection, work)
        perform(work.start, connection)
    }

    private func step(_ connection: MetaConnection, _ event: StampWork.Event) {
        guard case .learning(let mine, var work) = state, mine === connection else { return }
        let effect = work.apply(event)
        state = .learning(connection, work)
        perform(effect, connection)
    }

    private func perform(_ effect: StampWork.Effect, _ connection: MetaConnection) {
        stepBegan = loop.milliseconds
        switch effect {
        case .read: sendStep(connection) { $0.get(stampName) }
        case .add(let new): sendStep(connection) { put(new, .ifAbsent, &$0) }
        case .replace(let new, let unique):
            sendStep(connection) { put(new, .ifUnchanged(unique), &$0) }
        case .confirm:
            let generation = generation
            loop.spawn { [self] in
                let isNewest = await confirm(generation)
                guard isCurrent(connection) else { return }
                step(connection, .confirmed(isNewest))
                watch()
            }
        case .known(let found): ready(connection, found)
        case .failed: fail()
        }
    }

    private func sendStep(_ connection: MetaConnection, _ write: (inout MetaWriter) -> Void) {
        writer.clear()
        flights.append(.step(opaque: writer.opaque, sent: loop.milliseconds))
        write(&writer)
        connection.send(writer.bytes)
    }

    private func put(_ new: NodeStamp, _ mode: MetaWriter.SetMode, _ writer: inout MetaWriter) {
        writer.set(stampName, Array(new.text.utf8), flags: 0, seconds: 0, mode)
    }

    private func stampEvent(_ answer: MetaAnswer) -> StampWork.Event {
        switch answer.code {
        case .value, .absent: .read(stamp(in: answer), unique: answer.unique)
        case .done: .written(true)
        case .notStored, .exists, .notFound, .refused: .written(false)
        }
    }

    private func ready(_ connection: MetaConnection, _ found: NodeStamp) {
        if case .learning(_, let work) = state, work.renews { renewals += 1 }
        stamp = found
        prefix = Array("\(found.prefix):\(poolName):".utf8)
        state = .ready(connection)
        isUp = true
        pause = settings.retry
        if isStale { learn(connection) } else { send(connection) }
        watch()
    }

    // MARK: Failing

    func ended(_ connection: MetaConnection, reason: String, isPeersEnd: Bool) {
        guard isCurrent(connection) else { return }
        if case .ready = state, flights.isEmpty, queue.isEmpty {
            // Nobody waits: the next question makes a new one.
            state = .idle
            return
        }
        // A connection from before a restart of memcached fails at once, and a fresh one works.
        guard isPeersEnd, hasAnswered, !isClosing else { return fail() }
        if case .learning(_, let work) = state { restoreStaleness(work) }
        for round in landed() {
            if round.isRepeated {
                refuse(round)
            } else {
                round.isRepeated = true
                queue.append(round)
            }
        }
        connect()
        watch()
    }

    /// The rounds that were under way.
    private func landed() -> [MetaRound] {
        var rounds: [MetaRound] = []
        while let flight = flights.popFirst() {
            if case .round(let round) = flight { rounds.append(round) }
        }
        return rounds
    }

    private func restoreStaleness(_ work: StampWork) {
        if work.renews, !work.isRenewed { isStale = true }
    }

    /// Leaves the node alone for a while.
    private func fail() {
        if case .learning(_, let work) = state { restoreStaleness(work) }
        current?.close()
        stamp = nil
        isUp = false
        let rounds = landed() + queue
        queue = []
        open = nil
        guard !isClosing else {
            state = .closed
            for round in rounds { refuse(round) }
            return
        }
        state = .resting
        for round in rounds { refuse(round) }
        // A quarter more or less, so that the loops of a machine do not knock together.
        rest = loop.after(pause * Int.random(in: 75...125) / 100) { [self] in
            rest = nil
            guard case .resting = state else { return }
            connect()
            watch()
        }
        pause = min(pause * 2, settings.retryCeiling)
    }

    // MARK: Time

    /// Sees to it that somebody looks at the clock while anything is awaited.
    private func watch() {
        guard clock == nil, let began = oldest else { return }
        ring(at: began + settings.timeout.wholeMilliseconds)
    }

    private func ring(at time: UInt64) {
        let now = loop.milliseconds
        clock = loop.after(.milliseconds(time > now ? Int(time - now) : 0)) { [self] in
            clock = nil
            look()
        }
    }

    /// Since when the node is waited for; nil if it is not.
    private var oldest: UInt64? {
        switch state {
        case .connecting: stepBegan
        // Whoever confirms has bounds of their own; those who wait for it have the lane's.
        case .learning: flights.first?.sent ?? queue.first?.began
        case .ready: flights.first?.sent
        case .idle, .resting, .closed: nil
        }
    }

    private func look() {
        guard let began = oldest else {
            graceFor = nil
            return
        }
        let time = settings.timeout.wholeMilliseconds
        let now = loop.milliseconds
        guard now >= began + time else {
            graceFor = nil
            return ring(at: began + time)
        }
        let arrivals = current?.arrivals ?? 0
        let isMoving = graceFor != arrivals
        guard isMoving, now < began + time * Self.slowness else { return giveUp() }
        graceFor = arrivals
        ring(at: now + Self.grace.wholeMilliseconds)
    }

    private func giveUp() {
        graceFor = nil
        guard case .learning = state, flights.isEmpty else { return fail() }
        // Its keys are misses from now on, but the lane still waits for the word that its map is the newest.
        isUp = false
        let rounds = queue
        queue = []
        open = nil
        for round in rounds { refuse(round) }
    }

    // MARK: Ending

    func close() {
        guard !isClosing else { return }
        isClosing = true
        if waiting == 0 { endConnection() }
    }

    /// Ends at once; for a loop that ends.
    private func stop() {
        isClosing = true
        let rounds = landed() + queue
        queue = []
        open = nil
        for round in rounds { refuse(round) }
        endConnection()
    }

    private func endConnection() {
        current?.close()
        rest?.cancel()
        clock?.cancel()
        clock = nil
        state = .closed
    }
}

extension CacheCommand {
    fileprivate var valueBytes: Int {
        switch self {
        case .set(_, let value, _), .add(_, let value, _), .store(_, let value, _, _): value.count
        default: 0
        }
    }
}
