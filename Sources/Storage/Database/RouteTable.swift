package import Sharding

/// Where to send the next attempt for each bucket: the map, and what the shards have taught since.
///
/// A value without clock or I/O. A hint lives until a map arrives that is at least as new; it is believed only
/// if it is newer than what is known, so that a slow refusal cannot turn a route back.
package struct RouteTable: Sendable {
    package private(set) var map: ShardMap
    private var hints: [BucketID: Hint] = [:]
    /// Shards that a shard has told of and the map does not know yet.
    private var told: [ShardID: ShardRecord] = [:]

    private struct Hint: Sendable {
        var entry: ShardMap.Entry
        /// Whether the epoch is only what it will be if the move is the last one: the shard itself knows.
        var isGuess: Bool
    }

    package init(map: ShardMap) {
        self.map = map
    }

    /// What to do after a refusal.
    package enum Next: Equatable, Sendable {
        /// The route has changed: try again at once.
        case retry
        /// Nothing new: try again after a while.
        case wait
    }

    package subscript(bucket: BucketID) -> ShardMap.Entry {
        guard !hints.isEmpty, let hint = hints[bucket] else { return map[bucket] }
        return hint.entry
    }

    // MARK: Shards

    package func record(of shard: ShardID) -> ShardRecord? { map.shard(shard) ?? told[shard] }

    /// Those of the map and those that were told of, in order of their names.
    package var shards: [ShardRecord] {
        told.isEmpty ? map.shards : (map.shards + told.values).sorted { $0.id < $1.id }
    }

    /// Learns the address of a shard that the map does not have.
    package mutating func learn(_ record: ShardRecord) {
        if map.shard(record.id) == nil { told[record.id] = record }
    }

    // MARK: Routes

    /// Takes a newer map; an older or equal one changes nothing. Returns whether it was taken.
    @discardableResult
    package mutating func adopt(_ newer: ShardMap) -> Bool {
        guard newer.generation > map.generation else { return false }
        map = newer
        hints = hints.filter { bucket, hint in
            hint.entry.epoch > newer[bucket].epoch && record(of: hint.entry.shard) != nil
        }
        let hinted = Set(hints.values.map(\.entry.shard))
        told = told.filter { newer.shard($0.key) == nil && hinted.contains($0.key) }
        return true
    }

    /// Learns from a refusal by `shard`.
    @discardableResult
    package mutating func learn(_ refusal: Refusal, from shard: ShardID) -> Next {
        guard let state = refusal.state, let epoch = refusal.epoch else { return .wait }
        return learn(
            refusal.bucket,
            OwnerTable.Owner(state: state, epoch: epoch, next: refusal.next),
            from: shard
        )
    }

    /// Learns from all owner rows of `shard`: what it owns is there, and what it has given away is not.
    package mutating func learn(_ owners: OwnerTable, from shard: ShardID) {
        for bucket in BucketID.all {
            guard let owner = owners[bucket] else { continue }
            let known = self[bucket]
            if known.shard == shard && known.epoch == owner.epoch && owner.state.isReadable {
                continue
            }
            // A shard that gave a bucket away long ago knows less than who looks for it elsewhere.
            if !owner.state.isReadable && known.shard != shard { continue }
            learn(bucket, owner, from: shard)
        }
    }

    @discardableResult
    private mutating func learn(
        _ bucket: BucketID,
        _ owner: OwnerTable.Owner,
        from shard: ShardID
    ) -> Next {
        switch owner.state {
        case .own:
            // Given back after a move that was given up, or moved away and back: only the epoch is wrong.
            return believe(bucket, shard, owner.epoch, isGuess: false)
        case .released, .gone:
            guard let next = owner.next else { return .wait }
            // The next owner starts one epoch later; if it is further still, it says so itself.
            return believe(bucket, next, owner.epoch.next, isGuess: true)
        case .fenced:
            // It stays here for now; only the epoch may be news.
            return owner.epoch > self[bucket].epoch
                ? believe(bucket, shard, owner.epoch, isGuess: false) : .wait
        case .incoming:
            // On its way here from the owner that it names; the epoch is the one that it will have here.
            guard let next = owner.next, next != shard else { return .wait }
            return believe(bucket, next, Epoch(rawValue: owner.epoch.rawValue - 1), isGuess: true)
        }
    }

    private mutating func believe(
        _ bucket: BucketID,
        _ shard: ShardID,
        _ epoch: Epoch,
        isGuess: Bool
    ) -> Next {
        let known = self[bucket]
        let correctsGuess =
            !isGuess && known.shard == shard && hints[bucket]?.isGuess == true
        guard record(of: shard) != nil, epoch > known.epoch || correctsGuess else { return .wait }
        var entry = known
        entry.shard = shard
        entry.epoch = epoch
        hints[bucket] = Hint(entry: entry, isGuess: isGuess)
        return entry == known ? .wait : .retry
    }
}
