package import Sharding

/// What a bucket weighs, as measured.
package struct BucketWeight: Hashable, Sendable {
    /// On disk.
    package var bytes: Int64
    /// Per second.
    package var reads: Double
    package var writes: Double

    package init(bytes: Int64 = 0, reads: Double = 0, writes: Double = 0) {
        self.bytes = bytes
        self.reads = reads
        self.writes = writes
    }
}

/// All that a plan depends on, and nothing else.
package struct PlanInput: Sendable, Equatable {
    package var map: ShardMap
    /// One for each bucket, in order.
    package var weights: [BucketWeight]
    package var drains: Set<ShardID>
    package var pins: [BucketID: ShardID]
    package var isolated: [BucketID: ShardID]

    package init(
        map: ShardMap,
        weights: [BucketWeight]? = nil,
        drains: Set<ShardID> = [],
        pins: [BucketID: ShardID] = [:],
        isolated: [BucketID: ShardID] = [:]
    ) {
        self.map = map
        self.weights = weights ?? Array(repeating: BucketWeight(bytes: 1), count: BucketID.count)
        self.drains = drains
        self.pins = pins
        self.isolated = isolated
        precondition(self.weights.count == BucketID.count, "one weight for each bucket")
    }
}

/// Moves that bring every shard to its share, with as few bytes as can be.
package struct Plan: Sendable, Equatable {
    /// One move before it has a number.
    package struct Step: Hashable, Sendable {
        package let source: ShardID
        package let target: ShardID
        /// At most ``MoveSpec/bucketLimit``, in order.
        package let buckets: [BucketID]
        package let bytes: Int64
        /// Why: for the operator.
        package let reason: Reason

        package init(
            source: ShardID,
            target: ShardID,
            buckets: [BucketID],
            bytes: Int64,
            reason: Reason
        ) {
            self.source = source
            self.target = target
            self.buckets = buckets
            self.bytes = bytes
            self.reason = reason
        }
    }

    package enum Reason: String, Sendable, CaseIterable {
        case balance, drain, pin, isolate, region
    }

    /// In the order in which they should start.
    package let steps: [Step]
    /// Heaviest shard over the mean of its region, as shares of its capacity: before and after.
    package let imbalanceBefore: Double
    package let imbalanceAfter: Double

    package init(steps: [Step], imbalanceBefore: Double, imbalanceAfter: Double) {
        self.steps = steps
        self.imbalanceBefore = imbalanceBefore
        self.imbalanceAfter = imbalanceAfter
    }

    package var bytes: Int64 { steps.reduce(0) { $0 + $1.bytes } }
    package var bucketCount: Int { steps.reduce(0) { $0 + $1.buckets.count } }
}

/// Why there is no plan.
package struct PlanError: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}
