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

    func observe() -> ObservedMove {
        // Slot and rows of a rollback's stream are those of the move that it rolls back.
        let isCopy = spec.kind == .copy
        return ObservedMove(
            source: side(spec.source, leaving: isCopy ? spec.stream : nil, arriving: spec.reverse),
            target: side(spec.target, leaving: spec.reverse, arriving: isCopy ? spec.stream : nil)
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
        let found = try session.rows(
            """
            SELECT EXISTS (
                    SELECT FROM pg_replication_slots
                    WHERE slot_name = $1 AND database = current_database()
                        AND coalesce(wal_status, '') <> 'lost'
                )::text,
                EXISTS (SELECT FROM pg_publication WHERE pubname = $1)::text,
                EXISTS (
                    SELECT FROM pg_subscription
                    WHERE subname = $2 AND \(StreamParts.isHere)
                )::text
            """,
            [leaving?.description, arriving?.description]
        )[0]
        let hasSlot = found[0] == "true"
        let hasPublication = found[1] == "true"
        return ObservedMove.Side(
            owners: owners,
            hasSlot: hasSlot && hasPublication,
            hasSubscription: found[2] == "true",
            hasOther: try hasSlot != hasPublication || MoveTraces(session).has(spec.id)
                || hasOrphans(session, shard, owners)
        )
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
