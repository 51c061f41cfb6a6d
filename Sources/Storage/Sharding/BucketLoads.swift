/// How often each bucket was read and written since the last look.
///
/// Counted where statements are sent, so an addition to one of two numbers is all that it costs them.
package struct BucketTally: Sendable, Equatable {
    package private(set) var reads = [UInt32](repeating: 0, count: BucketID.count)
    package private(set) var writes = [UInt32](repeating: 0, count: BucketID.count)

    package init() {}

    @inline(__always)
    package mutating func noteRead(_ bucket: BucketID) { reads[Int(bucket.rawValue)] &+= 1 }

    @inline(__always)
    package mutating func noteWrite(_ bucket: BucketID) { writes[Int(bucket.rawValue)] &+= 1 }

    /// What was counted; counting begins anew.
    package mutating func take() -> BucketTally {
        let taken = self
        self = BucketTally()
        return taken
    }
}

/// How often each bucket is read and written, as one process has counted it for a while.
///
/// What was counted long ago weighs less: half after each ``halfLifeSeconds``.
package struct BucketLoads: Sendable, Equatable {
    package static let halfLifeSeconds = 1_800.0

    /// In etcd a process's counts lie under this and its name, for as long as it runs.
    package static let keyPrefix = "/tessera/loads/"

    /// How long was counted for, faded like the counts: their quotient is a rate.
    package private(set) var seconds = 0.0
    package private(set) var reads = [Double](repeating: 0, count: BucketID.count)
    package private(set) var writes = [Double](repeating: 0, count: BucketID.count)

    package init() {}

    /// Adds what the loops of a process counted within the last `elapsed` seconds.
    package mutating func add(_ tallies: [BucketTally], over elapsed: Double) {
        let kept = BucketLoads.share(after: elapsed)
        seconds = seconds * kept + elapsed
        for bucket in 0..<BucketID.count {
            reads[bucket] *= kept
            writes[bucket] *= kept
            for tally in tallies {
                reads[bucket] += Double(tally.reads[bucket])
                writes[bucket] += Double(tally.writes[bucket])
            }
        }
    }

    /// What is left of a count after so long; close enough to 2 to the power of -elapsed/half-life for short times.
    private static func share(after elapsed: Double) -> Double {
        let part = elapsed / halfLifeSeconds
        return 1 / (1 + part * 0.693_147 + part * part * 0.240_227)
    }
}

// The form in which a process tells its counts:
//
//     tessera-loads 1
//     seconds 1234
//     bucket 17 230 12
//     end 5f1d0c…
//
// Buckets that were not used are left out; counts are whole numbers.
extension BucketLoads {
    private static let form = "tessera-loads 1"

    /// A report is never larger; a longer text is refused unread.
    package static let textLimit = 1 << 16

    package var text: String {
        var lines = ["seconds \(Int64(seconds.rounded()))"]
        for bucket in 0..<BucketID.count {
            let counts = (Int64(reads[bucket].rounded()), Int64(writes[bucket].rounded()))
            if counts != (0, 0) { lines.append("bucket \(bucket) \(counts.0) \(counts.1)") }
        }
        return SealedText.seal(lines, as: Self.form)
    }

    /// Nil for what is no such report, or one of another version: then nobody knows.
    package init?(text: String) {
        // What is wrong with it does not matter: the next report replaces it.
        guard let sealed = try? SealedText(text, form: Self.form, limit: Self.textLimit),
            let first = sealed.lines.first, first.hasPrefix("seconds "),
            let seconds = Int64(first.dropFirst(8)), seconds >= 0
        else { return nil }
        self.seconds = Double(seconds)
        for line in sealed.lines.dropFirst() {
            let words = line.split(separator: " ")
            guard words.count == 4, words[0] == "bucket",
                let bucket = Int(words[1]), reads.indices.contains(bucket),
                let read = Int64(words[2]), let written = Int64(words[3]), read >= 0, written >= 0
            else { return nil }
            (reads[bucket], writes[bucket]) = (Double(read), Double(written))
        }
    }
}

/// Reads and writes a second of each bucket, by what all processes have counted; what a plan is made from.
package struct BucketRates: Sendable, Equatable {
    /// Fewer than this, counted in all, say nothing about single buckets: a plan made of chance would move data to
    /// and fro.
    package static let significant = 1_000.0 * Double(BucketID.count)

    package private(set) var reads = [Double](repeating: 0, count: BucketID.count)
    package private(set) var writes = [Double](repeating: 0, count: BucketID.count)
    package private(set) var countedReads = 0.0
    package private(set) var countedWrites = 0.0

    package init(_ processes: [BucketLoads]) {
        for process in processes where process.seconds > 0 {
            for bucket in 0..<BucketID.count {
                reads[bucket] += process.reads[bucket] / process.seconds
                writes[bucket] += process.writes[bucket] / process.seconds
            }
            countedReads += process.reads.reduce(0, +)
            countedWrites += process.writes.reduce(0, +)
        }
        // What is not known counts as unused, which the planner leaves out.
        if countedReads < Self.significant { reads = reads.map { _ in 0 } }
        if countedWrites < Self.significant { writes = writes.map { _ in 0 } }
    }
}
