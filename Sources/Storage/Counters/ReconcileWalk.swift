internal import Sharding

/// The way of a recount around all buckets and kinds: where it is, and how long it rests between two steps.
///
/// A value, so that its order and its pace are plain to see; ``Reconciler`` does the work of a step.
package struct ReconcileWalk: Sendable, Equatable {
    /// The least time between two steps, whatever they cost.
    package static let leastPause = Duration.milliseconds(500)
    /// The longest, so that one long count does not stop the walk for a day.
    package static let longestPause = Duration.seconds(300)

    /// The bucket and the kind, by its place in the list, that the next step looks at, and after which subject.
    package private(set) var bucket: Int
    package private(set) var kind = 0
    package private(set) var after: Int64 = 0

    /// How often it has come around.
    package private(set) var rounds = 0

    private let first: Int
    private let stride: Int

    /// Every `stride`th bucket from `first` on, so that as many walks together see each bucket once.
    package init(first: Int = 0, stride: Int = 1, startingAt start: Int = 0) {
        precondition(stride > 0 && (0..<stride).contains(first))
        self.first = first
        self.stride = stride
        bucket = first + start / stride * stride
        if bucket >= BucketID.count { bucket = first }
    }

    /// Goes on after a step that saw subjects as far as `last`, or saw the end of the bucket.
    package mutating func advance(last: Int64?, kinds: Int) {
        if let last {
            after = last
            return
        }
        after = 0
        kind += 1
        if kind >= kinds { skipBucket() }
    }

    /// Goes on with the next bucket: this one was seen, or its shard does not answer now.
    package mutating func skipBucket() {
        after = 0
        kind = 0
        bucket += stride
        guard bucket >= BucketID.count else { return }
        bucket = first
        rounds += 1
    }

    /// How long to rest after a step, so that steps take `percent` of the time.
    package static func pause(after step: Duration, percent: Int) -> Duration {
        let rest = step * Double(100 - percent) / Double(max(1, percent))
        return min(max(rest, leastPause), longestPause)
    }
}
