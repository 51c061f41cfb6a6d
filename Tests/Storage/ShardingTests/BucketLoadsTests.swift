import Sharding
import Testing

@Suite struct `How often buckets are used` {
    private static func tally(reads: [Int: Int] = [:], writes: [Int: Int] = [:]) -> BucketTally {
        var tally = BucketTally()
        for (bucket, count) in reads {
            for _ in 0..<count { tally.noteRead(BucketID.all[bucket]) }
        }
        for (bucket, count) in writes {
            for _ in 0..<count { tally.noteWrite(BucketID.all[bucket]) }
        }
        return tally
    }

    @Test func `is counted by bucket, and begins anew when it is taken`() {
        var tally = Self.tally(reads: [3: 2], writes: [1_023: 1])

        let taken = tally.take()

        #expect(taken.reads[3] == 2 && taken.writes[1_023] == 1 && taken.reads[4] == 0)
        #expect(tally == BucketTally())
    }

    @Test func `is a rate of all loops of a process together`() {
        var loads = BucketLoads()

        for _ in 0..<20 {
            loads.add([Self.tally(reads: [7: 60]), Self.tally(reads: [7: 30])], over: 30)
        }

        #expect(abs(loads.reads[7] / loads.seconds - 3) < 0.000_1)
    }

    @Test func `is forgotten by half after each half-life`() {
        var loads = BucketLoads()
        loads.add([Self.tally(writes: [1: 1_000])], over: 30)

        for _ in 0..<60 { loads.add([BucketTally()], over: BucketLoads.halfLifeSeconds / 60) }

        #expect(abs(loads.writes[1] - 500) < 2)
    }

    @Test func `is told and read as it was, and a torn report is none`() throws {
        var loads = BucketLoads()
        loads.add([Self.tally(reads: [0: 5, 9: 1], writes: [9: 4])], over: 30)

        let text = loads.text

        #expect(BucketLoads(text: text) == loads)
        #expect(BucketLoads(text: String(text.dropLast(3))) == nil)
        #expect(BucketLoads(text: text.replacing("9 1 4", with: "9 1 5")) == nil)
        #expect(BucketLoads(text: "") == nil)
    }

    @Test func `counts for a plan only when so much was counted that it is no chance`() {
        var few = BucketLoads()
        few.add([Self.tally(reads: [5: 1_000], writes: [5: 10])], over: 30)
        var many = BucketLoads()
        for _ in 0..<2 {
            many.add(Array(repeating: Self.tally(reads: [5: 100_000]), count: 6), over: 30)
        }

        #expect(BucketRates([few]).reads[5] == 0)
        let rates = BucketRates([few, many])
        #expect(rates.reads[5] > 19_000 && rates.writes[5] == 0)
    }
}
