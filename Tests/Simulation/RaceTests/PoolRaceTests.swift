import PoolSimulation
import Testing

/// A pool that changes its nodes while clients use it by maps of different age: nobody reads what was deleted before.
///
/// `swift run simulate --scenario pools --seeds 1...1000000` does the same for as many seeds as one likes.
struct PoolRaceTests {
    private static let seeds: ClosedRange<UInt64> = 1...1_000

    @Test func `nobody reads what was deleted, at any phase and by any map`() {
        var answered = 0, cached = 0
        for seed in Self.seeds {
            let run = PoolRun(seed: seed)
            answered += run.answered
            cached += run.cached
            #expect(run.wrong.isEmpty, "\(run.command): \(run.wrong.prefix(3))")
        }
        #expect(cached * 3 > answered, "\(cached) of \(answered) came from the cache")
    }

    @Test(arguments: PoolFlaw.allCases)
    func `a change with a known flaw is caught`(flaw: PoolFlaw) {
        // Some need a rare moment; most are caught at once.
        let caught = (1...6_000).first { !PoolRun(seed: $0, flaw: flaw).wrong.isEmpty }

        #expect(caught != nil)
    }
}
