import Sharding
import Testing

private struct ThingID: RoutedID {
    let rawValue: Int64
}

struct RoutedIDTests {
    @Test func `an id carries its bucket and its time`() {
        let id = ThingID(rawValue: 1_763_726_400_123 << 16 | 1_023 << 6 | 63)

        #expect(id.bucket.rawValue == 1_023)
        #expect(id.createdAt.iso8601 == "2025-11-21T12:00:00.123Z")
    }

    @Test(arguments: ["1", "9223372036854775807", "115587253446148095"])
    func `a decimal id reads back as it was written`(text: String) throws {
        #expect(try #require(ThingID(text)).description == text)
    }

    @Test(arguments: [
        "", "0", "-1", "+1", " 1", "1 ", "01", "9223372036854775808", "99999999999999999999", "1e3",
        "0x1", "1.0", "١",
    ])
    func `anything else is no id`(text: String) {
        #expect(ThingID(text) == nil)
    }

    @Test func `ids of a bulk insert are distinct, ordered and share no reading`() {
        var clock = HybridClock()
        let wall = Timestamp(milliseconds: 1_763_726_400_000)
        var last: Int64 = 0

        for batch in [1, 1_000, 64, 1, 10_000] {
            let first = clock.take(batch, at: wall)
            #expect(first > last)
            last = first + Int64(batch) - 1
        }

        let bucket = BucketID(rawValue: 7)!
        let ids = (last - 200...last).map { HybridClock.id(reading: $0, bucket: bucket) }
        #expect(ids == ids.sorted())
        #expect(Set(ids).count == ids.count)
        #expect(ids.allSatisfy { ThingID(rawValue: $0).bucket == bucket })
    }

    @Test func `a wall clock set back neither repeats nor reverses an id`() {
        var clock = HybridClock()
        let before = clock.take(10, at: Timestamp(milliseconds: 2_000_000)) + 9

        let after = clock.take(1, at: Timestamp(milliseconds: 1_000_000))

        #expect(after == before + 1)
    }

    @Test func `a bucket's new shard with a slower clock goes on above the old one`() {
        var source = HybridClock()
        var target = HybridClock()
        let given = source.take(500, at: Timestamp(milliseconds: 5_000))

        target.raise(above: source)
        let next = target.take(1, at: Timestamp(milliseconds: 1_000))

        #expect(next > given + 499)
    }

    @Test func `the clock catches up with the wall after borrowing`() {
        var clock = HybridClock()
        _ = clock.take(640, at: Timestamp(milliseconds: 1_000))

        let next = clock.take(1, at: Timestamp(milliseconds: 2_000))

        #expect(next == 2_000 << 6)
    }
}

struct TimestampTests {
    @Test(arguments: [
        ("2026-11-21T12:00:00.000Z", 1_795_262_400_000),
        ("1970-01-01T00:00:00.000Z", 0),
        ("2000-02-29T23:59:59.999Z", 951_868_799_999),
        ("1969-12-31T23:59:59.999Z", -1),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    ])
    func `a moment is written and read in ISO 8601`(text: String, milliseconds: Int64) {
        #expect(Timestamp(milliseconds: milliseconds).iso8601 == text)
        #expect(Timestamp(iso8601: text)?.milliseconds == milliseconds)
    }

    @Test func `offsets and fractions are understood`() {
        let moment = Timestamp(iso8601: "2026-11-21T14:00:00.123456+02:00")

        #expect(moment?.iso8601 == "2026-11-21T12:00:00.123Z")
        #expect(moment.map { $0.microseconds % 1_000_000 } == 123_456)
    }

    @Test(arguments: [
        "", "2026-11-21", "2026-11-21T12:00:00", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z",
        "2026-11-21T24:00:00Z", "2026-11-21T12:00:00.Z", "2026-11-21T12:00:00Zx",
    ])
    func `what is not a moment is refused`(text: String) {
        #expect(Timestamp(iso8601: text) == nil)
    }
}
