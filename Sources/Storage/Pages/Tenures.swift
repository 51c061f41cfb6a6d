internal import Database
package import Sharding

/// Since when one loop knows a shard to own its buckets without a break.
///
/// What is withdrawn is logged by the shard that owns the bucket of whom it is about. So a shard has nothing to say
/// about a bucket that another one has owned since before the former was heard of last. Ownership that ends and
/// begins anew has another epoch.
struct Tenures: Sendable {
    /// Of the owner rows that it is taken from.
    private(set) var version: Int64?
    private var epochs = [Int64](repeating: 0, count: BucketID.count)
    private var since = [UInt64](repeating: .max, count: BucketID.count)

    /// What the shard said at a time of the loop's clock or before it.
    mutating func note(_ owned: OwnedBuckets, by now: UInt64) {
        version = owned.version
        for bucket in 0..<BucketID.count where epochs[bucket] != owned.epochs[bucket] {
            epochs[bucket] = owned.epochs[bucket]
            since[bucket] = epochs[bucket] == 0 ? .max : now
        }
    }

    /// Whether the bucket has been the shard's from that time on until it was asked last.
    func covers(_ bucket: BucketID, since time: UInt64) -> Bool {
        since[Int(bucket.rawValue)] <= time
    }
}

/// The buckets that a shard answers for, by their epochs; 0 for others.
package struct OwnedBuckets: Sendable, Equatable {
    package let version: Int64
    let epochs: [Int64]

    package init(version: Int64, epochs: [BucketID: Epoch]) {
        self.version = version
        self.epochs = BucketID.all.map { epochs[$0]?.rawValue ?? 0 }
    }

    init(_ table: OwnerTable) {
        version = table.version
        epochs = BucketID.all.map { bucket in
            guard let owner = table[bucket], owner.state.isReadable else { return 0 }
            return owner.epoch.rawValue
        }
    }
}
