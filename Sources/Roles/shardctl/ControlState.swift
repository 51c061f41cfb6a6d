import Coordination
import Etcd
import Journals
import Sharding

/// What etcd says of the coordinator and its moves.
struct ControlState: Sendable {
    var leader: LeaderRecord?
    var intent: ClusterIntent
    var plan: PlanRecord?
    var moves: [BucketMove]
    var progress: [MoveID: MoveProgress]

    init(_ etcd: EtcdClient) async throws {
        leader = try await etcd.get(CoordinatorKeys.leader).flatMap { LeaderRecord($0.value) }
        let intents = IntentStore(etcd: etcd)
        intent = try await intents.intent().value
        plan = try await intents.plan().value
        moves = try await MoveStore(etcd: etcd).load(policy: MovePolicy())
        progress = try await ProgressStore(etcd: etcd).load()
    }

    var active: [BucketMove] { moves.filter { !$0.step.isFinal } }

    func move(_ id: MoveID) -> BucketMove? { moves.first { $0.spec.id == id } }

    /// Moves of the agreed plan that have not begun.
    var waiting: [PlanRecord.Move] {
        guard let plan, plan.fingerprint == intent.approved else { return [] }
        let begun = Set(moves.map(\.spec.id))
        return plan.moves.filter { !begun.contains($0.spec.id) }
    }

    /// Moves of the agreed plan that people still wait for.
    var pendingCount: Int { waiting.count + active.filter { !$0.isDone }.count }

    /// Refuses to ask something of a coordinator that would not understand it.
    func refuseOldLeader() throws {
        guard let leader, leader.format < JournalFormat.known else { return }
        throw Failure(
            .conflict,
            "the leading coordinator \(leader.name) is of an older version (format \(leader.format), "
                + "this is \(JournalFormat.known)): restart the coordinators with this version first"
        )
    }
}

extension BucketMove {
    /// Nobody waits for it any more: it is over, or only keeps the way back open.
    var isDone: Bool { step.isFinal || step == .reverseSync }
}

extension Cluster {
    func controlState() async throws -> ControlState {
        try await withEtcd { try await ControlState($0) }
    }

    /// Changes what the coordinator is asked for; `check` sees the present state and may refuse.
    func ask(
        _ check: @escaping @Sendable (ControlState) throws -> Void = { _ in },
        _ change: @escaping @Sendable (inout ClusterIntent) throws -> Void
    ) async throws -> ControlState {
        try await withEtcd { etcd in
            var state = try await ControlState(etcd)
            try state.refuseOldLeader()
            try check(state)
            state.intent = try await IntentStore(etcd: etcd).change(change)
            return state
        }
    }
}

/// The move of that name, such as `m12`.
func moveID(_ text: String) throws -> MoveID {
    guard let id = MoveID(text) else {
        throw Failure(.usage, "'\(text)' is not a move's name, such as m12")
    }
    return id
}

/// The bucket of that number.
func bucketID(_ text: String) throws -> BucketID {
    guard let bucket = Int(text).flatMap({ BucketID(rawValue: $0) }) else {
        throw Failure(.usage, "there is no bucket '\(text)'; they are 0 to \(BucketID.count - 1)")
    }
    return bucket
}
