import Coordination
import MoveSimulation
import Testing

/// Moves under crashes, partitions, sleeping leaders and whatever else: the invariants of sharding.md, section 5.1, that need a
/// whole cluster (1 to 9 and 12 to 15), looked at all the time and at the end.
///
/// `swift run -c release simulate --seeds 1...1000000` does the same for as many seeds as one likes.
@Suite(.serialized)  // Leaves a core to the tests beside it.
struct MoveRaceTests {
    /// Of each scenario; thousands of runs in all.
    private static let seeds: ClosedRange<UInt64> = 1...400
    /// Enough to see what is common.
    private static let few: ClosedRange<UInt64> = 1...60

    private func summary(
        of scenario: Scenario,
        seeds: ClosedRange<UInt64> = Self.few,
        flaw: Flaw? = nil
    ) -> (summary: RunSummary, wrong: [String]) {
        var summary = RunSummary()
        var wrong: [String] = []
        for seed in seeds {
            let world = MoveWorld(seed: seed, scenario: scenario, flaw: flaw)
            world.run()
            summary.add(world)
            if let first = world.wrong.first { wrong.append("\(world.command): \(first)") }
            // One failure is enough to repeat.
            if flaw != nil, !wrong.isEmpty { break }
        }
        return (summary, wrong)
    }

    @Test(arguments: Scenario.all)
    func `one owner at most, nothing lost, doubled, stale or left over`(scenario: Scenario) {
        let (summary, wrong) = summary(of: scenario, seeds: Self.seeds)

        #expect(wrong == [])
        #expect(summary.moves[.cleaned] ?? 0 > 0)
        #expect(summary.acknowledged > 1_000)
    }

    @Test func `coordinators die at every step`() throws {
        let (summary, _) = summary(of: try #require(Scenario.named("crashes")))

        let steps = MoveStep.allCases.filter { !$0.isFinal }
        #expect(steps.filter { summary.crashes[$0] == nil } == [])
    }

    @Test func `without faults no pause is longer than the policy allows`() throws {
        let (summary, _) = summary(of: try #require(Scenario.named("calm")))

        #expect(summary.errors == 0)
        #expect(summary.longestPause < 2_500)
    }

    @Test(arguments: Flaw.allCases)
    func `a mistake is caught`(flaw: Flaw) {
        let caught = Scenario.all.contains { scenario in
            !summary(of: scenario, flaw: flaw).wrong.isEmpty
        }

        #expect(caught)
    }

    /// Runs that once failed, by what was wrong.
    @Test(arguments: [
        ("a slot made by a late request swallows changes", "crashes", 25 as UInt64),
        ("a successor fences what was only being verified", "crashes", 25),
        ("a slot that failover lost is made again", "crashes", 65),
        ("a request of a finished move waits for buckets again", "partitions", 160),
        ("a sleeping coordinator reads the epochs of another move", "splitBrain", 183),
        ("an answer to an earlier term settles nothing", "splitBrain", 54),
        ("an abort after a give-up leaves an old epoch in the map", "abort", 32),
        ("two moves draw one name", "rollback", 8),
        ("the rows of a move whose rollback was undone stay", "rollback", 95),
    ])
    func `a run that failed once does not fail again`(
        what: String,
        name: String,
        seed: UInt64
    ) throws {
        let scenario = try #require(Scenario.named(name))

        #expect(summary(of: scenario, seeds: seed...seed).wrong == [], "\(what)")
    }

    @Test func `the same seed gives the same run`() throws {
        let scenario = try #require(Scenario.named("partitions"))
        let runs = (0..<2).map { _ in summary(of: scenario, seeds: 7...9).summary.description }

        #expect(runs[0] == runs[1])
    }
}
