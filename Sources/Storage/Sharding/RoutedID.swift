/// A time-sortable 63-bit id that carries the bucket it lives in.
///
/// Unix milliseconds `<< 16 | bucket << 6 | sequence`, written in decimal in the API. Ids come from
/// `control.next_id` of the shard that owns the bucket; code makes one only to address an existing row.
package protocol RoutedID: Routed, Hashable, Comparable, LosslessStringConvertible {
    var rawValue: Int64 { get }

    init(rawValue: Int64)
}

extension RoutedID {
    package var bucket: BucketID { BucketID(masking: UInt64(bitPattern: rawValue) >> 6) }

    /// When the id was made, by its shard's hybrid clock, in whole milliseconds.
    package var createdAt: Timestamp { Timestamp(milliseconds: rawValue >> 16) }

    package var description: String { String(rawValue) }

    /// Reads 1 to 19 decimal digits that make a positive id; no sign, space or leading zero.
    package init?(_ description: String) {
        let digits = description.utf8
        guard (1...19).contains(digits.count), digits.first != UInt8(ascii: "0") else { return nil }
        var value: Int64 = 0
        for digit in digits {
            guard digit >= UInt8(ascii: "0"), digit <= UInt8(ascii: "9") else { return nil }
            let (shifted, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = shifted.addingReportingOverflow(Int64(digit - UInt8(ascii: "0")))
            guard !overflow, !carry else { return nil }
            value = sum
        }
        self.init(rawValue: value)
    }

    package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

/// The arithmetic of a shard's hybrid clock, which `control.next_id` does in SQL.
///
/// A reading is `milliseconds × 64 + n`; every reading is given out once, so an id is as unique as its
/// reading whatever bucket it is stamped with.
package struct HybridClock: Sendable, Equatable {
    package private(set) var reading: Int64

    package init(reading: Int64 = 0) {
        self.reading = reading
    }

    /// Takes `count` readings in a row, the first of which is returned.
    ///
    /// The clock is raised to the wall clock, never lowered; a batch that needs more readings than the
    /// milliseconds that have passed borrows future ones.
    package mutating func take(_ count: Int, at wall: Timestamp) -> Int64 {
        let first = max(reading + 1, wall.milliseconds << 6)
        reading = first + Int64(count) - 1
        return first
    }

    /// What a bucket's new shard does before it may make ids: passes whatever the old shard gave out.
    package mutating func raise(above other: HybridClock) {
        reading = max(reading, other.reading)
    }

    /// The id that a reading becomes in `bucket`.
    package static func id(reading: Int64, bucket: BucketID) -> Int64 {
        (reading >> 6) << 16 | Int64(bucket.rawValue) << 6 | reading & 63
    }
}
