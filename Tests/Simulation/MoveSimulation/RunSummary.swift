package import Coordination
internal import Simulation

/// What some runs came to.
package struct RunSummary: CustomStringConvertible {
    package private(set) var runs = 0
    package private(set) var failures = 0
    /// Moves by how they ended.
    package private(set) var moves: [MoveStep: Int] = [:]
    /// For each step, how often a coordinator died at it.
    package private(set) var crashes: [MoveStep: Int] = [:]
    package private(set) var acknowledged = 0
    package private(set) var errors = 0
    package private(set) var steps = 0
    package private(set) var longestPause = 0

    package init() {}

    package mutating func add(_ world: MoveWorld) {
        runs += 1
        failures += world.wrong.isEmpty ? 0 : 1
        moves.merge(world.finished, uniquingKeysWith: +)
        crashes.merge(world.crashes, uniquingKeysWith: +)
        acknowledged += world.acknowledged
        errors += world.errors
        steps += world.simulator.steps
        longestPause = max(longestPause, world.longestPause)
    }

    package var description: String {
        let died = MoveStep.allCases.filter { crashes[$0] != nil }.map { "\($0) \(crashes[$0]!)" }
        return """
            \(runs) runs, \(failures) failed; \(moves[.cleaned] ?? 0) moves done, \
            \(moves[.undone] ?? 0) undone; \(acknowledged) writes, \(errors) requests gave up; \
            longest pause \(longestPause) ms; \(steps) steps; coordinators died at: \
            \(died.isEmpty ? "-" : died.joined(separator: ", "))
            """
    }
}

extension MoveWorld {
    /// What repeats this run.
    package var command: String {
        "swift run simulate --seeds \(simulator.seed) --scenario \(scenario.name)"
            + (flaw.map { " --flaw \($0.rawValue)" } ?? "")
    }
}
