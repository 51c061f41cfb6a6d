import ArgumentParser
import Dispatch
import Glibc
import MoveSimulation
import PoolSimulation
import Synchronization

/// `swift run simulate`: runs scenarios of moving buckets and changing cache pools under faults, seed after seed.
@main
struct Simulate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Runs a simulated cluster whose buckets move while everything goes wrong.",
        discussion: """
            Example, a million seeds of each scenario on all cores; a failing seed prints the command that repeats it:
              swift run -c release simulate --seeds 1...1000000

            Scenarios:
            \(scenarioList)
              \(pools): a cache pool, with a gutter or without, changes and loses nodes while clients use it
            """
    )

    private static let pools = "pools"

    private static var scenarioList: String {
        Scenario.all.map { "  \($0.name): \($0.summary)" }.joined(separator: "\n")
    }

    @Option(
        help: ArgumentHelp("Which seeds: 7, or 1...1000000.", valueName: "seeds")
    )
    var seeds = "1"

    @Option(help: "The scenario's name, or 'all'.")
    var scenario = "all"

    @Option(help: "A mistake to make, which the checkers should find.")
    var flaw: String?

    @Option(help: "How many run at the same time.")
    var jobs = max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))

    @Flag(help: "Tell everything that happens in a move; for one seed.")
    var verbose = false

    private var range: ClosedRange<UInt64>? {
        let ends = seeds.split(separator: ".", omittingEmptySubsequences: true).map { UInt64($0) }
        guard (1...2).contains(ends.count), let first = ends[0], let last = ends[ends.count - 1],
            first <= last, last < .max
        else { return nil }
        return first...last
    }

    func validate() throws {
        guard range != nil else {
            throw ValidationError("'\(seeds)' is neither a seed nor a range such as 1...1000")
        }
        let names = Scenario.all.map(\.name) + [Self.pools, "all"]
        guard names.contains(scenario) else {
            throw ValidationError(
                "no scenario \(scenario); there are: \(names.joined(separator: ", "))"
            )
        }
        let flaws = Flaw.allCases.map(\.rawValue) + PoolFlaw.allCases.map(\.rawValue)
        if let flaw, !flaws.contains(flaw) {
            throw ValidationError("no flaw \(flaw); there are: \(flaws.joined(separator: ", "))")
        }
        guard jobs > 0 else { throw ValidationError("--jobs must be positive") }
    }

    func run() throws {
        var failed = false
        for scenario in Scenario.all where self.scenario == "all" || scenario.name == self.scenario
        {
            if !run(scenario) { failed = true }
        }
        if scenario == "all" || scenario == Self.pools, !runPools() { failed = true }
        if failed { throw ExitCode.failure }
    }

    /// Calls `body` with every seed, several at a time.
    private func each(_ body: @escaping @Sendable (UInt64) -> Void) {
        let (seeds, jobs) = (range!, UInt64(jobs))
        DispatchQueue.concurrentPerform(iterations: Int(jobs)) { job in
            for seed in stride(
                from: seeds.lowerBound + UInt64(job),
                through: seeds.upperBound,
                by: Int(jobs)
            ) {
                body(seed)
            }
        }
    }

    private func run(_ scenario: Scenario) -> Bool {
        let summary = Mutex(RunSummary())
        let (flaw, verbose) = (flaw.flatMap { Flaw(rawValue: $0) }, verbose)
        each { seed in
            let world = MoveWorld(seed: seed, scenario: scenario, flaw: flaw)
            if verbose { world.narrator = { print($0) } }
            world.run()
            summary.withLock { $0.add(world) }
            Self.tell(world.wrong, world.command)
        }
        return summary.withLock { summary in
            print("\(scenario.name): \(summary)")
            return summary.failures == 0
        }
    }

    private func runPools() -> Bool {
        let counts = Mutex((runs: 0, failures: 0, answered: 0, cached: 0))
        let flaw = flaw.flatMap { PoolFlaw(rawValue: $0) }
        each { seed in
            let run = PoolRun(seed: seed, flaw: flaw)
            counts.withLock { counts in
                counts.runs += 1
                counts.failures += run.wrong.isEmpty ? 0 : 1
                counts.answered += run.answered
                counts.cached += run.cached
            }
            Self.tell(run.wrong, run.command)
        }
        return counts.withLock { counts in
            print(
                "\(Self.pools): \(counts.runs) runs, \(counts.failures) failed; \(counts.answered) reads, "
                    + "\(counts.cached) from the cache"
            )
            return counts.failures == 0
        }
    }

    private static func tell(_ wrong: [String], _ command: String) {
        guard !wrong.isEmpty else { return }
        print(([command] + wrong.map { "    \($0)" }).joined(separator: "\n"))
    }
}
