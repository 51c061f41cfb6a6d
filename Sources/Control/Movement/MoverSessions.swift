internal import Administration
internal import Coordination
internal import Sharding
import Synchronization

/// The sessions of a driver, kept for the next piece of work: connecting takes longer than most of what a pause does.
final class MoverSessions: Sendable {
    /// Idle sessions kept for each shard.
    private static let idleLimit = 4

    let settings: MoveDriverSettings
    private let cluster: @Sendable () -> ClusterID?
    private let shard: @Sendable (ShardID) -> ShardRecord?
    private let idle = Mutex<[ShardID: [AdminSession]]>([:])
    private let tables = Mutex<[ShardID: [BucketTable]]>([:])
    private let snapshots = Mutex<[MoveID: ExportedSnapshot]>([:])
    private let streams = Mutex<[StreamKey: StreamServers.Lives]>([:])

    init(
        settings: MoveDriverSettings,
        cluster: @escaping @Sendable () -> ClusterID?,
        shard: @escaping @Sendable (ShardID) -> ShardRecord?
    ) {
        self.settings = settings
        self.cluster = cluster
        self.shard = shard
    }

    /// Runs one piece of work, with sessions that end when the flag is set.
    func work<T>(_ flag: InterruptFlag, _ body: (ShardSessions) throws -> T) throws -> T {
        if flag.isSet { throw CancellationError() }
        let sessions = ShardSessions(self, flag)
        defer { sessions.giveBack() }
        return try body(sessions)
    }

    func record(of shard: ShardID) throws -> ShardRecord {
        guard let record = self.shard(shard) else {
            throw MoveFailure(kind: .refused, message: "the map knows no shard \(shard)")
        }
        return record
    }

    func take(_ id: ShardID) throws -> AdminSession {
        let record = try record(of: id)
        while let kept = idle.withLock({ $0[id]?.popLast() }) {
            let isThere =
                kept.host == record.primary.host && kept.port == record.primary.port
                && kept.database == record.database
            if isThere, !kept.hasEnded { return kept }
        }
        return try connect(record)
    }

    func connect(
        _ record: ShardRecord,
        name: String = "tessera mover",
        replication: Bool = false
    ) throws -> AdminSession {
        let session = try AdminSession(
            host: record.primary.host,
            port: record.primary.port,
            database: record.database,
            user: "mover",
            password: settings.password,
            applicationName: name,
            replication: replication,
            options: Self.options
        )
        // A session for replication takes no parameters; whoever opens one has another, which was asked.
        if !replication {
            try refuseStranger(session, record.id)
            session.server = try session.serverLife()
        }
        return session
    }

    /// Another cluster's server may stand where a shard of ours was: nothing of ours may reach it.
    private func refuseStranger(_ session: AdminSession, _ shard: ShardID) throws {
        guard let ours = cluster(), let theirs = try session.identity()?.cluster, theirs != ours
        else { return }
        throw MoveFailure(
            kind: .refused,
            message:
                "\(shard): its database belongs to another Tessera (cluster \(theirs), this is \(ours)): "
                + "correct the address with shardctl map import"
        )
    }

    /// Durable whatever the server's default; nothing that a mover does may wait for ever on a lock.
    private static let options: [(name: String, value: String)] = [
        ("synchronous_commit", "on"), ("lock_timeout", "10s"), ("timezone", "UTC"),
        ("default_transaction_isolation", "read\\ committed"),
        ("idle_in_transaction_session_timeout", "0"), ("statement_timeout", "0"),
    ]

    func giveBack(_ session: AdminSession, of id: ShardID) {
        guard !session.isBroken else { return }
        session.isInterrupted = nil
        idle.withLock { idle in
            if idle[id, default: []].count < Self.idleLimit {
                idle[id, default: []].append(session)
            }
        }
    }

    /// The tables of a shard as they were when somebody last looked afresh: the question takes longer than the rest
    /// of a pause, and schemas do not change while buckets move.
    func tables(
        of shard: ShardID,
        _ session: AdminSession,
        afresh: Bool
    ) throws(AdminError) -> [BucketTable] {
        if !afresh, let known = tables.withLock({ $0[shard] }) { return known }
        let found = try BucketTable.all(session)
        tables.withLock { $0[shard] = found }
        return found
    }

    // MARK: Servers

    /// Names one of the streams of a move.
    struct StreamKey: Hashable {
        let move: MoveID
        let entry: String
    }

    func keep(_ lives: StreamServers.Lives, of stream: StreamKey) {
        streams.withLock { $0[stream] = lives }
    }

    /// Nil where nobody has read or written the note yet.
    func lives(of stream: StreamKey) -> StreamServers.Lives? { streams.withLock { $0[stream] } }

    /// What was remembered of a move that is over.
    func forget(_ move: MoveID) {
        streams.withLock { streams in streams = streams.filter { $0.key.move != move } }
    }

    // MARK: Snapshots

    /// A snapshot that lives as long as the session which exported it.
    struct ExportedSnapshot: Sendable {
        let session: AdminSession
        let name: String
        let run: Int
    }

    func keep(_ snapshot: ExportedSnapshot, of move: MoveID) {
        snapshots.withLock { $0[move] = snapshot }
    }

    func snapshot(of move: MoveID) -> ExportedSnapshot? { snapshots.withLock { $0[move] } }

    func dropSnapshot(of move: MoveID) { snapshots.withLock { $0[move] = nil } }
}

/// The sessions of one piece of work, made at first use.
final class ShardSessions {
    let pool: MoverSessions
    let flag: InterruptFlag
    private var taken: [ShardID: AdminSession] = [:]

    init(_ pool: MoverSessions, _ flag: InterruptFlag) {
        self.pool = pool
        self.flag = flag
    }

    var settings: MoveDriverSettings { pool.settings }

    subscript(shard: ShardID) -> AdminSession {
        get throws {
            if let session = taken[shard] { return session }
            let session = try pool.take(shard)
            session.answerTimeout = settings.answerTimeout
            session.isInterrupted = { [flag] in flag.isSet }
            taken[shard] = session
            return session
        }
    }

    func tables(of shard: ShardID, afresh: Bool = false) throws -> [BucketTable] {
        try pool.tables(of: shard, self[shard], afresh: afresh)
    }

    /// A further session with a shard, which ends with the reference.
    func another(
        _ shard: ShardID,
        name: String,
        replication: Bool = false
    ) throws -> AdminSession {
        let session = try pool.connect(
            try pool.record(of: shard),
            name: name,
            replication: replication
        )
        session.answerTimeout = settings.answerTimeout
        session.isInterrupted = { [flag] in flag.isSet }
        return session
    }

    /// A session that was ended by its server is replaced at the next use.
    func forget(_ shard: ShardID) { taken[shard] = nil }

    func giveBack() {
        for (shard, session) in taken { pool.giveBack(session, of: shard) }
    }

    /// Sleeps on the thread, unless the work is to end.
    func pause(_ duration: Duration) throws {
        if flag.isSet { throw CancellationError() }
        sleepThread(duration)
    }
}

/// Says to blocking work on another thread that it should end.
final class InterruptFlag: Sendable {
    private let value = Atomic<Bool>(false)

    var isSet: Bool { value.load(ordering: .relaxed) }

    func set() { value.store(true, ordering: .relaxed) }
}

extension ShardRecord {
    var primary: Member { members.first { $0.role == .primary } ?? members[0] }
}
