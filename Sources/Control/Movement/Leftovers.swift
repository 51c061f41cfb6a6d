internal import Administration
package import Coordination
package import Sharding

/// Something of a move that is no longer under way, found on a shard.
package struct Leftover: Hashable, Sendable, CustomStringConvertible {
    package enum Kind: String, Sendable, CaseIterable {
        case slot, publication, subscription
        /// Markers, notes, watches and logged keys.
        case traces
        /// An owner row between two states.
        case owner
        /// Rows of buckets that the shard does not own.
        case rows
    }

    package let shard: ShardID
    package let kind: Kind

    /// Of the slot, publication or subscription; of the move for traces; the table for rows.
    package let name: String

    /// Those of rows and owner rows.
    package let buckets: [BucketID]

    package let description: String
}

extension MoveDriver {
    /// What moves have left on a shard, without what belongs to `active` moves, which is everything in the
    /// journal that is not at its end.
    package func leftovers(on shard: ShardID, active: [MoveSpec]) async throws -> [Leftover] {
        try await run { try LeftoverSearch(shard, active, $0).all() }
    }

    /// Removes or settles one of them; safe to repeat. Gives back what it did, for the operator.
    ///
    /// Rows are deleted only where the owner row says `gone` or there is none; a fenced bucket is given back to its
    /// source, a released one activated on its target, an incoming one made `gone`.
    package func repair(_ leftover: Leftover) async throws -> String {
        try await run { try LeftoverRepair(leftover, $0).repair() }
    }
}

private struct LeftoverSearch {
    let shard: ShardID
    let active: Set<String>
    let busy: Set<BucketID>
    let shards: ShardSessions

    init(_ shard: ShardID, _ moves: [MoveSpec], _ shards: ShardSessions) {
        self.shard = shard
        var names: Set<String> = []
        var busy: Set<BucketID> = []
        for move in moves {
            names.insert(move.id.description)
            // A rollback works with the stream and the rows of the move that it rolls back.
            if case .rollback(let original) = move.kind { names.insert(original.description) }
            if move.source == shard || move.target == shard { busy.formUnion(move.buckets) }
        }
        active = names
        self.busy = busy
        self.shards = shards
    }

    func all() throws -> [Leftover] {
        let session = try shards[shard]
        return try streams(session) + traces(session) + owners(session) + rows(session)
    }

    private func found(
        _ kind: Leftover.Kind,
        _ name: String,
        _ what: String,
        buckets: [BucketID] = []
    ) -> Leftover {
        Leftover(
            shard: shard,
            kind: kind,
            name: name,
            buckets: buckets,
            description: "\(shard): \(what)"
        )
    }

    private func streams(_ session: AdminSession) throws -> [Leftover] {
        try StreamParts.all(on: session).filter { !active.contains($0.name.move.description) }.map {
            found(
                $0.kind,
                $0.name.description,
                "the \($0.kind.rawValue) \($0.name) belongs to no move under way"
            )
        }
    }

    private func traces(_ session: AdminSession) throws -> [Leftover] {
        try MoveTraces(session).moves().filter { !active.contains($0) }.map {
            found(.traces, $0, "markers or notes of \($0), which is not under way")
        }
    }

    private func owners(_ session: AdminSession) throws -> [Leftover] {
        let owners = try OwnerRows(session).all("WHERE state IN ('fenced', 'released', 'incoming')")
        var groups: [String: [BucketID]] = [:]
        for (bucket, row) in owners {
            let move = (row.attempt ?? "-").prefix { $0 != "." }
            guard !active.contains(String(move)) else { continue }
            groups["\(row.state.rawValue) \(row.attempt ?? "-")", default: []].append(bucket)
        }
        return groups.sorted { $0.key < $1.key }.map { name, buckets in
            let sorted = buckets.sorted()
            return found(
                .owner,
                name,
                "buckets \(list(sorted)) are \(name), and that move is not under way",
                buckets: sorted
            )
        }
    }

    private func rows(_ session: AdminSession) throws -> [Leftover] {
        let owners = try OwnerRows(session).all()
        let gone = BucketID.all.filter {
            !busy.contains($0) && (owners[$0] == nil || owners[$0]!.state == .gone)
        }
        guard !gone.isEmpty else { return [] }
        var leftovers: [Leftover] = []
        for table in try BucketTable.all(session) {
            let seen = try session.rows(
                """
                SELECT b.bucket FROM unnest($1::smallint[]) AS b(bucket)
                WHERE EXISTS (SELECT FROM \(table.name) AS t WHERE t.bucket = b.bucket)
                ORDER BY 1
                """,
                ["{\(list(gone))}"]
            ).compactMap { $0[0].flatMap { Int($0) }.flatMap { BucketID(rawValue: $0) } }
            guard !seen.isEmpty else { continue }
            leftovers.append(
                found(
                    .rows,
                    table.name,
                    "\(table.name) has rows of buckets \(list(seen)), which are not its own",
                    buckets: seen
                )
            )
        }
        return leftovers
    }
}

private struct LeftoverRepair {
    let leftover: Leftover
    let shards: ShardSessions

    init(_ leftover: Leftover, _ shards: ShardSessions) {
        self.leftover = leftover
        self.shards = shards
    }

    func repair() throws -> String {
        let session = try shards[leftover.shard]
        switch leftover.kind {
        case .subscription, .slot, .publication:
            guard let stream = StreamName(leftover.name) else { return "not a stream of ours" }
            try removeStream(stream, session)
            return "removed the \(leftover.kind.rawValue) \(leftover.name)"
        case .traces:
            guard let move = MoveID(leftover.name) else {
                throw MoveFailure(
                    kind: .refused,
                    message: "'\(leftover.name)' is no move's name: remove its rows by hand"
                )
            }
            try MoveTraces(session).remove(of: move)
            return "removed the markers and notes of \(move)"
        case .rows: return try removeRows(session)
        case .owner: return try settleOwners(session)
        }
    }

    private func removeStream(_ stream: StreamName, _ session: AdminSession) throws {
        let parts = StreamParts(shards)
        switch leftover.kind {
        case .subscription: try parts.unsubscribe(leftover.shard, stream)
        case .slot: try parts.dropSlot(stream, on: leftover.shard)
        default: try parts.unpublish(stream, on: leftover.shard)
        }
    }

    private func removeRows(_ session: AdminSession) throws -> String {
        let deleted = try RowDeletion(session, batch: shards.settings.deleteBatch).run(
            """
            SELECT b.bucket FROM unnest($1::smallint[]) AS b(bucket)
            WHERE NOT EXISTS (
                SELECT FROM control.bucket_owner AS o
                WHERE o.bucket = b.bucket AND o.state <> 'gone'
            )
            """,
            ["{\(list(leftover.buckets))}"]
        ) { try shards.pause(.zero) }
        return "deleted \(deleted) rows of buckets \(list(leftover.buckets))"
    }

    private func settleOwners(_ session: AdminSession) throws -> String {
        let rows = try OwnerRows(session).rows(of: leftover.buckets)
        guard let first = rows.compactMap({ $0 }).first, let attempt = first.attempt,
            rows.allSatisfy({ $0?.attempt == attempt && $0?.state == first.state })
        else { return "the owner rows have changed meanwhile" }
        let buckets = "{\(list(leftover.buckets))}"
        switch first.state {
        case .fenced:
            try session.rows(
                "SELECT control.give_up($1, $2, $3)",
                [attempt, buckets, array(rows.compactMap { $0?.epoch })]
            )
            return "gave buckets \(list(leftover.buckets)) back to \(leftover.shard)"
        case .incoming:
            try session.rows("SELECT control.unmark_incoming($1, $2)", [attempt, buckets])
            return "buckets \(list(leftover.buckets)) are no longer expected on \(leftover.shard)"
        case .released:
            guard let next = first.next else { return "nobody is named as the next owner" }
            try shards[next].rows("SELECT control.activate($1, $2)", [attempt, buckets])
            try session.rows("SELECT control.mark_gone($1, $2)", [attempt, buckets])
            return "activated buckets \(list(leftover.buckets)) on \(next)"
        case .own, .gone: return "the owner rows have changed meanwhile"
        }
    }
}
