package import Contracts
package import Sharding

/// Decides how a post reaches the followers of its author: nothing here reads, writes or waits.
///
/// A small following is written to at once; a larger one in ranges of followers, which are effects of
/// their own; one above the threshold is not written to at all, its author's posts are merged when a feed is
/// read.
package enum FanOut {
    /// Rows that one insert brings to one shard: past about 1,000 more rows only add latency.
    package static let batchSize = 1_000

    /// Followers in one effect: the followers of nearly every author who is delivered to, so that they are
    /// read once. It is done well within a lease.
    package static let rangeSize = 16_000

    package enum Plan: Sendable, Equatable {
        case nobody
        /// Merged when read, from now on.
        case pull(followers: Int)
        case deliver(FollowerRange)
        case split([FollowerRange])
    }

    /// `starts` are the first followers of each range in key order, `followers` how many there are (counted
    /// no further than one past the threshold).
    package static func plan(followers: Int, threshold: Int, starts: [UserID]) -> Plan {
        if followers > threshold { return .pull(followers: followers) }
        if starts.isEmpty { return .nobody }
        // The first range has no lower end and the last no upper one: whoever follows while the ranges are
        // delivered lies in one of them.
        let ranges = starts.indices.map { index in
            FollowerRange(
                from: index == 0 ? nil : starts[index],
                to: index + 1 < starts.count ? starts[index + 1] : nil
            )
        }
        return ranges.count == 1 ? .deliver(ranges[0]) : .split(ranges)
    }

    /// The readers of one insert: all on one shard, in key order, so that they touch few pages and buckets.
    package struct Batch: Sendable, Equatable {
        package let shard: ShardID
        package let readers: [UserID]
        package let buckets: [BucketID]
    }

    /// Divides readers, given in key order, into batches for their shards.
    package static func batches(
        of readers: [UserID],
        size: Int = batchSize,
        shard: (BucketID) -> ShardID
    ) -> [Batch] {
        var byShard: [ShardID: [UserID]] = [:]
        var bucket: BucketID?
        var owner: ShardID?
        for reader in readers {
            if reader.bucket != bucket {
                bucket = reader.bucket
                owner = shard(reader.bucket)
            }
            byShard[owner!, default: []].append(reader)
        }
        return byShard.sorted { $0.key < $1.key }.flatMap { shard, readers in
            // Equal parts rather than full ones and a rest.
            let parts = (readers.count + size - 1) / size
            return (0..<parts).map { part in
                let bounds =
                    readers.count * part / parts..<readers.count * (part + 1) / parts
                return batch(shard, Array(readers[bounds]))
            }
        }
    }

    private static func batch(_ shard: ShardID, _ readers: [UserID]) -> Batch {
        var buckets: [BucketID] = []
        for reader in readers where reader.bucket != buckets.last { buckets.append(reader.bucket) }
        return Batch(shard: shard, readers: readers, buckets: buckets)
    }
}

/// Followers of one author in the order of the mirror's key (follower's bucket, follower).
package struct FollowerRange: Sendable, Equatable {
    /// The first one; nil from the beginning.
    package var from: UserID?
    /// The first one that is not in it; nil to the end.
    package var to: UserID?

    package init(from: UserID? = nil, to: UserID? = nil) {
        self.from = from
        self.to = to
    }
}
