package import Coordination
package import Sharding

/// One shard's database: owner rows, rows of users, a log with slots, subscriptions, and locks.
///
/// Each method is one transaction; it happens at once, and what it writes survives a crash. Only what the protocol stands on
/// is modelled, but that exactly: compare-and-set on owner rows, a fence that waits for writers, a log in commit order.
package final class FakeShard {
    /// One change of one row, as the log has it.
    package enum Change: Hashable {
        case insert(BucketID, key: Int, value: Int)
        case update(BucketID, key: Int, value: Int)
        case delete(BucketID, key: Int)
        /// With the id clock of the shard that was fenced.
        case marker(BucketID, FenceAttempt, clock: Int)

        var bucket: BucketID {
            switch self {
            case .insert(let bucket, _, _), .update(let bucket, _, _), .delete(let bucket, _),
                .marker(let bucket, _, _):
                bucket
            }
        }
    }

    package struct Slot {
        package let move: MoveID
        package let buckets: Set<BucketID>
        /// The first transaction of the log that has not been taken.
        package var position: Int
    }

    package struct Subscription {
        package let move: MoveID
        package let publisher: ShardID
    }

    /// A writing transaction under way, which holds the shared lock of its bucket.
    package struct Writer: Hashable {
        let id: Int
        let bucket: BucketID
    }

    package let id: ShardID
    package internal(set) var isUp = true
    /// Grows when it crashes: what was under way is gone.
    package internal(set) var life = 0
    package internal(set) var owners: [BucketID: OwnerRow] = [:]
    package internal(set) var rows: [BucketID: [Int: Int]] = [:]
    package internal(set) var markers: [BucketID: Set<FenceAttempt>] = [:]
    package internal(set) var log: [[Change]] = []
    package internal(set) var slots: [String: Slot] = [:]
    package internal(set) var subscriptions: [String: Subscription] = [:]
    /// The last run of a move's copy to this shard.
    package internal(set) var runs: [MoveID: Int] = [:]
    /// Every slot that a copy has ever had here.
    var opened: Set<String> = []
    var writers: Set<Writer> = []
    /// The moves that hold a bucket's exclusive lock or wait for it, which keeps new writers out.
    var locking: [BucketID: [MoveSpec]] = [:]
    /// What the ids of a fenced bucket had come to, by attempt.
    private var markerClocks: [FenceAttempt: Int] = [:]
    /// The id clock: never goes back, whatever the wall clock does.
    private(set) var clock = 0
    /// This machine's, which nobody compares with another one's.
    var wallClock: () -> Int = { 0 }
    private var nextWriter = 0
    private let flaw: Flaw?

    /// Called when an owner row has changed, with what it was, and when the log has grown.
    var ownersChanged: (BucketID, OwnerRow?) -> Void = { _, _ in }
    var logGrew: () -> Void = {}
    /// Called before a user's write and a stream's change take effect, and when a lock keeps a writer waiting.
    var userWrites: (BucketID, _ id: Int) -> Void = { _, _ in }
    var streamWrites: (BucketID) -> Void = { _ in }
    var writerWaits: (BucketID, MoveSpec) -> Void = { _, _ in }
    var tell: (BucketID) -> Void = { _ in }

    package init(_ id: ShardID, flaw: Flaw?) {
        self.id = id
        self.flaw = flaw
    }

    func commit(_ changes: [Change]) {
        guard !changes.isEmpty else { return }
        for change in changes {
            switch change {
            case .insert(let bucket, let key, let value), .update(let bucket, let key, let value):
                rows[bucket, default: [:]][key] = value
            case .delete(let bucket, let key): rows[bucket]?[key] = nil
            case .marker(let bucket, let attempt, let clock):
                markers[bucket, default: []].insert(attempt)
                markerClocks[attempt] = clock
            }
        }
        log.append(changes)
        logGrew()
    }

    func setOwner(_ bucket: BucketID, _ row: OwnerRow?) {
        let before = owners[bucket]
        owners[bucket] = row
        ownersChanged(bucket, before)
        tell(bucket)
    }

    /// Whatever was under way ends; what was committed stays. A failover loses the slots too.
    func crash(losingSlots: Bool) {
        isUp = false
        life += 1
        writers = []
        locking = [:]
        if losingSlots { slots = [:] }
    }

    // MARK: Users

    package enum Answer: Hashable {
        case done(Int)
        /// As SQLSTATE TF001 with its detail.
        case refused(OwnerRow?)
        case lockWait
    }

    /// The first half of a write: the shared lock, then the look at the owner row.
    func begin(_ bucket: BucketID, at epoch: Epoch) -> (Writer?, Answer) {
        if let holder = locking[bucket]?.first {
            writerWaits(bucket, holder)
            return (nil, .lockWait)
        }
        let row = owners[bucket]
        let isOwned = row?.state == .own && row?.epoch == epoch
        guard isOwned || flaw == .writesIgnoreOwners else { return (nil, .refused(row)) }
        nextWriter += 1
        let writer = Writer(id: nextWriter, bucket: bucket)
        writers.insert(writer)
        return (writer, .done(0))
    }

    /// The second half: the row of the request, which makes a repetition harmless, and the counter; nil when the
    /// transaction has been ended meanwhile.
    func finish(_ writer: Writer, request: Int, counter: Int) -> Answer? {
        guard writers.remove(writer) != nil else { return nil }
        let bucket = writer.bucket
        let old = rows[bucket]?[counter]
        if rows[bucket]?[request] != nil { return .done(old ?? 0) }
        let value = (old ?? 0) + 1
        clock = max(clock + 1, wallClock())
        userWrites(bucket, clock)
        commit([
            .insert(bucket, key: request, value: counter),
            old == nil
                ? .insert(bucket, key: counter, value: value)
                : .update(bucket, key: counter, value: value),
        ])
        return .done(value)
    }

    /// A read, with the look at the owner row after it.
    func read(_ bucket: BucketID, at epoch: Epoch, counter: Int) -> Answer {
        let value = rows[bucket]?[counter] ?? 0
        let row = owners[bucket]
        if flaw == .readsIgnoreOwners { return .done(value) }
        guard let row, row.state == .own || row.state == .fenced, row.epoch == epoch else {
            return .refused(row)
        }
        return .done(value)
    }

    /// As `raise_clock`: ids of a bucket that comes go on above those that it has.
    func raiseClock(above attempt: FenceAttempt) {
        if flaw != .activationIgnoresClock { clock = max(clock, markerClocks[attempt] ?? 0) }
    }

    // MARK: Replication

    /// Applies one transaction of the publisher's log. False when it cannot: a row is there already.
    func apply(_ changes: [Change]) -> Bool {
        for case .insert(let bucket, let key, _) in changes where rows[bucket]?[key] != nil {
            return false
        }
        for change in changes {
            if case .marker = change { continue }
            streamWrites(change.bucket)
        }
        commit(
            changes.filter { change in
                switch change {
                // As an UPDATE or DELETE that finds no row.
                case .update(let bucket, let key, _): rows[bucket]?[key] != nil
                case .delete(let bucket, let key): rows[bucket]?[key] != nil
                case .insert, .marker: true
                }
            }
        )
        return true
    }
}

/// A mistake that a driver, a node or the protocol could make; the checkers must catch every one.
package enum Flaw: String, CaseIterable, Sendable {
    /// The fence looks at the owner row before it has waited for the writers.
    case fenceIgnoresWriters
    /// The fence does not compare epochs, so that a late one fences after it was given up.
    case fenceIgnoresEpochs
    /// The target is activated by the journal's word, without a release on the source.
    case activatesUnreleased
    /// Giving up does not look whether the attempt was released.
    case givesUpReleased
    /// The marker is not waited for.
    case skipsMarker
    /// The fence locks everything on the shard.
    case fenceLocksShard
    /// The target makes ids by its own clock alone.
    case activationIgnoresClock
    /// An earlier coordinator's copy may still empty or fill the target.
    case ignoresRuns
    /// Clean-up deletes without looking whether the rows are still gone.
    case cleansOwned
    /// Undoing deletes at the target whoever owns the rows.
    case undoesOwned
    /// The map takes an older epoch for news.
    case publishesOlder
    /// Writes are accepted by whoever has rows.
    case writesIgnoreOwners
    /// Reads are answered by whoever has rows.
    case readsIgnoreOwners
    /// The forward stream is left when the move is over.
    case leavesStream
}
