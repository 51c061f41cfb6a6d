import ArgumentParser
import MoveSimulation
import Simulation

/// `swift run simulate`: runs scenarios of moving buckets under faults, seed after seed.
@main
struct Simulate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Runs a simulated cluster whose buckets move while everything goes wrong.",
        discussion: scenarioList
    )

    private static var scenarioList: String {
        "Scenarios:\n"
            + Scenario.all.map { "  \($0.name): \($0.summary)" }.joined(separator: "\n")
    }

    @Option(help: "The first seed.")
    var seed: UInt64 = 1

    @Option(help: "How many seeds, one after the other.")
    var runs: UInt64 = 1

    @Option(help: "The scenario's name, or 'all'.")
    var scenario = "all"

    @Option(help: "A mistake to make, which the checkers should find.")
    var flaw: String?

    @Flag(help: "Tell everything that happens.")
    var verbose = false

    func validate() throws {
        guard scenario == "all" || Scenario.named(scenario) != nil else {
            throw ValidationError("no scenario \(scenario)\n\(Self.scenarioList)")
        }
        guard flaw == nil || Flaw(rawValue: flaw!) != nil else {
            let flaws = Flaw.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("no flaw \(flaw!); there are: \(flaws)")
        }
        guard runs > 0, seed.addingReportingOverflow(runs).overflow == false else {
            throw ValidationError("--runs must be positive")
        }
    }

    func run() throws {
        var failed = false
        for scenario in Scenario.all where self.scenario == "all" || scenario.name == self.scenario
        {
            if !run(scenario) { failed = true }
        }
        if failed { throw ExitCode.failure }
    }

    private func run(_ scenario: Scenario) -> Bool {
        var summary = RunSummary()
        for seed in seed..<seed + runs {
            let world = MoveWorld(
                seed: seed,
                scenario: scenario,
                flaw: flaw.flatMap { Flaw(rawValue: $0) }
            )
            if verbose { world.narrator = { print($0) } }
            world.run()
            summary.add(world)
            guard !world.wrong.isEmpty else { continue }
            print(world.command)
            for line in world.wrong { print("    \(line)") }
        }
        print("\(scenario.name): \(summary)")
        return summary.failures == 0
    }
}
