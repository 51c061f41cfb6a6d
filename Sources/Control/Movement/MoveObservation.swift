internal import Administration
internal import Coordination
internal import Sharding

/// Looks at both sides of a move; changes nothing.
struct MoveObservation {
    /// A side that takes longer counts as one that does not answer.
    private static let patience = Duration.seconds(5)

    private let spec: MoveSpec
    private let shards: ShardSessions

    init(_ spec: MoveSpec, _ shards: ShardSessions) {
        self.spec = spec
        self.shards = shards
    }

    func observe(run: Int) -> ObservedMove {
        // Slot and rows of a rollback's stream are those of the move that it rolls back.
        let isCopy = spec.kind == .copy
        return ObservedMove(
            source: side(
                spec.source,
                leaving: isCopy ? spec.stream(run: run) : nil,
                arriving: spec.reverse
            ),
            target: side(
                spec.target,
                leaving: spec.reverse,
                arriving: isCopy ? spec.stream(run: run) : nil
            )
        )
    }

    /// Nil when the side does not answer.
    private func side(
        _ shard: ShardID,
        leaving: StreamName?,
        arriving: StreamName?
    ) -> ObservedMove.Side? {
        do {
            let session = try shards[shard]
            session.answerTimeout = Self.patience
            defer { session.answerTimeout = shards.settings.answerTimeout }
            return try look(session, shard, leaving, arriving)
        } catch {
            return nil
        }
    }

    private func look(
        _ session: AdminSession,
        _ shard: ShardID,
        _ leaving: StreamName?,
        _ arriving: StreamName?
    ) throws -> ObservedMove.Side {
        let owners = try OwnerRows(session).rows(of: spec.buckets)
        let parts = try StreamParts.all(on: session).filter { $0.name.move == spec.id }
        func has(_ kind: Leftover.Kind, _ name: StreamName?) -> Bool {
            parts.contains { $0.kind == kind && $0.name == name }
        }
        let hasStream =
            try has(.slot, leaving) && has(.publication, leaving)
            && isReadable(
                leaving,
                session
            )
        let hasSubscription = has(.subscription, arriving)
        // Parts of other runs, and halves of streams.
        let known = (hasStream ? 2 : 0) + (hasSubscription ? 1 : 0)
        return ObservedMove.Side(
            owners: owners,
            hasSlot: hasStream,
            hasSubscription: hasSubscription,
            hasOther: try parts.count > known || MoveTraces(session).has(spec.id)
                || hasOrphans(session, shard, owners)
        )
    }

    /// A slot that was left behind for too long has lost what it was for.
    private func isReadable(
        _ name: StreamName?,
        _ session: AdminSession
    ) throws(AdminError) -> Bool {
        let status = try session.value(
            "SELECT coalesce(wal_status, '') FROM pg_replication_slots WHERE slot_name = $1",
            [name?.description]
        )
        return status != nil && status != "lost"
    }

    private func hasOrphans(
        _ session: AdminSession,
        _ shard: ShardID,
        _ owners: [OwnerRow?]
    ) throws -> Bool {
        // An undone rollback leaves its target's rows where they were.
        if spec.kind != .copy, shard == spec.target { return false }
        let gone = zip(spec.buckets, owners).filter { $1 == nil || $1!.state == .gone }.map(\.0)
        return try !OrphanRows(session).tables(with: gone).isEmpty
    }
}
