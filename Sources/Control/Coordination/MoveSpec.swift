package import Sharding

/// The name of a move: unique for the life of the cluster, part of the names of its slot, publication
/// and subscription.
package struct MoveID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let number: Int64

    /// Takes 1 and above; numbers are drawn from the journal, by compare-and-set.
    package init?(number: Int64) {
        guard number > 0 else { return nil }
        self.number = number
    }

    /// Reads what `description` writes, such as `m12`.
    package init?(_ text: String) {
        guard text.hasPrefix("m"), let number = Int64(text.dropFirst()),
            "m\(number)" == text
        else { return nil }
        self.init(number: number)
    }

    package var description: String { "m\(number)" }

    package static func < (a: MoveID, b: MoveID) -> Bool { a.number < b.number }
}

/// What one move does: it takes some buckets from one shard to another, all in one stream.
package struct MoveSpec: Hashable, Sendable {
    /// Buckets of one source and one target that share a slot; more would lengthen the pause of each.
    package static let bucketLimit = 16

    /// How the rows come to the target.
    package enum Kind: Hashable, Sendable {
        /// A snapshot is copied, then a stream catches up.
        case copy
        /// The target is the source of an earlier move, whose reverse stream kept it up to date.
        case rollback(of: MoveID)
    }

    package let id: MoveID
    package let kind: Kind
    package let source: ShardID
    package let target: ShardID

    /// In order, each once.
    package let buckets: [BucketID]

    package init?(
        id: MoveID,
        kind: Kind = .copy,
        source: ShardID,
        target: ShardID,
        buckets: [BucketID]
    ) {
        let sorted = Set(buckets).sorted()
        guard source != target, (1...Self.bucketLimit).contains(sorted.count),
            sorted.count == buckets.count
        else { return nil }
        self.id = id
        self.kind = kind
        self.source = source
        self.target = target
        self.buckets = sorted
    }
}
