package import Coordination
package import EventLoops
package import Sharding
import Synchronization

/// Does on real PostgreSQL servers what moves ask for.
///
/// One serves all moves of a coordinator, from any loop: each piece of work runs on a thread of the `Offload`,
/// which needs as many threads as there are moves at a time. Every piece can be done twice, by two coordinators,
/// and late; what may no longer happen is refused by the owner rows. What it keeps in memory (open sessions, the
/// snapshot of a copy) can be lost at any time. Errors are ``MoveFailure``s.
package final class MoveDriver: Sendable {
    package let settings: MoveDriverSettings
    let sessions: MoverSessions
    private let offload: Offload
    private let progresses = Mutex<[MoveID: CopyProgress]>([:])

    /// `shard` gives the present record of a shard, nil for one that the map does not know; `cluster` the name that
    /// all shards must have, nil where it does not matter.
    package init(
        settings: MoveDriverSettings,
        offload: Offload,
        cluster: @escaping @Sendable () -> ClusterID? = { nil },
        shard: @escaping @Sendable (ShardID) -> ShardRecord?
    ) {
        self.settings = settings
        self.offload = offload
        sessions = MoverSessions(settings: settings, cluster: cluster, shard: shard)
    }

    /// Does one piece of work of a move and says what it found.
    ///
    /// `publish` is none of its business and traps. When the task is cancelled the work ends soon, in the middle of
    /// a statement if need be; it may have had its effect.
    package func perform(_ work: MoveWork, of spec: MoveSpec) async throws -> MoveFact {
        let flag = InterruptFlag()
        return try await withTaskCancellationHandler {
            do {
                return try await offload.run {
                    try self.sessions.work(flag) { try self.act(work, spec, $0) }
                }
            } catch {
                throw MoveFailure(error)
            }
        } onCancel: {
            flag.set()
        }
    }

    /// How far the copy of a move is; nil unless this driver is copying.
    package func progress(of move: MoveID) -> CopyProgress? {
        progresses.withLock { $0[move] }
    }

    func note(_ progress: CopyProgress?, of move: MoveID) {
        progresses.withLock { $0[move] = progress }
    }

    /// Runs other blocking work with the driver's sessions, for what is no step of a move.
    func run<T: Sendable>(_ body: @escaping @Sendable (ShardSessions) throws -> T) async throws -> T
    {
        let flag = InterruptFlag()
        return try await withTaskCancellationHandler {
            do {
                return try await offload.run { try self.sessions.work(flag, body) }
            } catch {
                throw MoveFailure(error)
            }
        } onCancel: {
            flag.set()
        }
    }

    private func act(
        _ work: MoveWork,
        _ spec: MoveSpec,
        _ shards: ShardSessions
    ) throws -> MoveFact {
        let streams = MoveStreams(spec, shards)
        let fences = MoveFences(spec, shards)
        switch work {
        case .observe(let run): return .observed(MoveObservation(spec, shards).observe(run: run))
        case .precheck: return try MovePrecheck(spec, shards).check()
        case .prepareTarget: return .epochs(try streams.prepareTarget())
        case .openStream(let run): try streams.open(run: run)
        case .copy(let run): return try copy(spec, run, shards)
        case .attachStream(let run): try streams.attach(run: run)
        case .measureLag(let run): return try streams.lag(run: run)
        case .verify(let run): return try Verification(spec, shards).verify(run: run)
        case .prepareReverse: try streams.prepareReverse()
        case .fence(let attempt, let epochs): try fences.fence(attempt, epochs)
        case .awaitMarker(let attempt): try fences.awaitMarker(of: attempt)
        case .compareTail(let attempt): return try Verification(spec, shards).compareTail(attempt)
        case .advanceReverse:
            // Activation itself notes where the bucket's own writes begin in the target's log, and the reverse
            // stream starts there: nothing is left to do in the pause.
            return .nothing
        case .release(let attempt): try fences.release(attempt)
        case .giveUp(let attempt, let epochs): return try fences.giveUp(attempt, epochs)
        case .activate(let attempt, _): try fences.activate(attempt)
        case .publish: preconditionFailure("the map is the coordinator's")
        case .settleSource(let attempt): try fences.settleSource(attempt)
        case .detachStream: try streams.detach()
        case .startReverse: try streams.startReverse()
        case .measureReverse: return try streams.reverseLag()
        case .stopReverse: try streams.stopReverse()
        case .clean(let epochs): try CleanUp(spec, shards).clean(epochs)
        case .undo: try CleanUp(spec, shards).undo()
        }
        return .nothing
    }

    private func copy(_ spec: MoveSpec, _ run: Int, _ shards: ShardSessions) throws -> MoveFact {
        defer { note(nil, of: spec.id) }
        return try RowCopy(spec, run, shards).copy { self.note($0, of: spec.id) }
    }
}

/// How a driver reaches the shards, and its bounds.
package struct MoveDriverSettings: Sendable {
    /// Of the superuser `mover`, the same on every shard.
    package var password: String

    /// Bytes a second of one copy, as PostgreSQL sends them; not throttled if nil.
    package var copyBytesPerSecond: Int64?

    /// How long a statement may take that is neither a copy nor a scan.
    package var answerTimeout = Duration.seconds(30)

    /// How long the fence waits for writers in one try.
    package var fencePatience = Duration.milliseconds(200)

    /// How often the fence is tried before whoever holds it up is ended.
    package var fenceTries = 2

    /// How long the fence may take in all.
    package var fenceLimit = Duration.milliseconds(1_500)

    /// Between two looks for the marker.
    package var markerPoll = Duration.microseconds(500)

    /// How long a probe may take to reach the target before the lag is called unknown.
    package var probeLimit = Duration.seconds(2)

    /// Rows that one statement deletes.
    package var deleteBatch = 5_000

    /// A bucket group with at most so many rows is compared as a whole once more while it is fenced: for those who
    /// would rather wait some tens of milliseconds longer. What it would find, the log of keys has shown before.
    package var wholeTailRows: Int64 = 0

    /// Keys that one statement compares.
    package var compareBatch = 1_000

    /// How long keys that differ may go on differing while the stream runs, before they count as different.
    package var settleLimit = Duration.seconds(20)

    package init(password: String) {
        self.password = password
    }
}

/// How far a copy is.
package struct CopyProgress: Sendable, Equatable {
    package var rows: Int64 = 0
    package var bytes: Int64 = 0

    /// The table that is being copied.
    package var table = ""
    package var elapsed = Duration.zero
}
