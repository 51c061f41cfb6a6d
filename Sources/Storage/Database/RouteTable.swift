package import Sharding

/// Where to send the next attempt for each bucket: the map, and what refusals have taught since.
///
/// A value without clock or I/O. A hint lives until a map arrives that is at least as new; it is believed only
/// if it is newer than what is known, so that a slow refusal cannot turn a route back.
package struct RouteTable: Sendable {
    package private(set) var map: ShardMap
    private var hints: [BucketID: ShardMap.Entry] = [:]

    package init(map: ShardMap) {
        self.map = map
    }

    /// What to do after a refusal.
    package enum Next: Equatable, Sendable {
        /// The route has changed: try again at once.
        case retry
        /// The bucket is between two owners: try again after a while.
        case wait
    }

    package subscript(bucket: BucketID) -> ShardMap.Entry {
        guard !hints.isEmpty, let hint = hints[bucket] else { return map[bucket] }
        return hint
    }

    /// Takes a newer map; an older or equal one changes nothing. Returns whether it was taken.
    @discardableResult
    package mutating func adopt(_ newer: ShardMap) -> Bool {
        guard newer.generation > map.generation else { return false }
        map = newer
        hints = hints.filter { bucket, hint in
            hint.epoch > newer[bucket].epoch && newer.shard(hint.shard) != nil
        }
        return true
    }

    /// Learns from a refusal by `shard`.
    package mutating func learn(_ refusal: Refusal, from shard: ShardID) -> Next {
        let known = self[refusal.bucket]
        guard let epoch = refusal.epoch, let next = refusal.next, map.shard(next) != nil else {
            return .wait
        }
        switch refusal.state {
        case "own":
            // Given back after a move that was given up, or moved away and back: only the epoch is wrong.
            return believe(refusal.bucket, shard, epoch, instead: known)
        case "released", "gone":
            // The next owner starts one epoch later; if it is further still, it says so itself.
            return believe(refusal.bucket, next, epoch.next, instead: known)
        default:
            return .wait
        }
    }

    private mutating func believe(
        _ bucket: BucketID,
        _ shard: ShardID,
        _ epoch: Epoch,
        instead known: ShardMap.Entry
    ) -> Next {
        guard epoch > known.epoch else { return .wait }
        var entry = known
        entry.shard = shard
        entry.epoch = epoch
        hints[bucket] = entry
        return .retry
    }
}
