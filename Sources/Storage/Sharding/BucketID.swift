/// One of the 1,024 logical pieces of the user space, for ever.
///
/// A bucket never changes its number or its rows' keys; only the shard that owns it changes.
package struct BucketID: Hashable, Comparable, Sendable {
    package static let count = 1024

    package let rawValue: Int16

    package init?(rawValue: some BinaryInteger) {
        guard rawValue >= 0, rawValue < Self.count else { return nil }
        self.rawValue = Int16(rawValue)
    }

    init(masking value: UInt64) {
        rawValue = Int16(value & UInt64(Self.count - 1))
    }

    /// Every bucket, in order.
    package static let all: [BucketID] = (0..<count).map { BucketID(masking: UInt64($0)) }

    /// The bucket of a name: a username, an e-mail address, a hashtag, a timeline.
    ///
    /// The name is hashed as it is; whoever compares names without case normalises them first.
    package static func of(name: String) -> BucketID {
        BucketID(masking: SipHash.buckets.hash(name.utf8))
    }

    package static func < (a: BucketID, b: BucketID) -> Bool { a.rawValue < b.rawValue }
}

/// Whatever lives in one bucket and is found by it.
package protocol Routed: Sendable {
    var bucket: BucketID { get }
}

extension BucketID: Routed {
    package var bucket: BucketID { self }
}

extension BucketID: CustomStringConvertible {
    package var description: String { String(rawValue) }
}
