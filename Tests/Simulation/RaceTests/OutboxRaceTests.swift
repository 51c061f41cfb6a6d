import Jobs
import Simulation
import Testing

/// The outbox under workers that die at any point: an effect may run twice, but never zero times, and nothing is
/// dropped silently.
struct OutboxRaceTests {
    private static let seeds: Range<UInt64> = 1..<1_001
    private static let attemptLimit = 12

    /// Runs workers over effects of every nature; says what went wrong.
    private func history(seed: UInt64, flaw: OutboxWorld.Flaw? = nil) -> [String] {
        let simulator = Simulator(seed: seed)
        let world = OutboxWorld(simulator, attemptLimit: Self.attemptLimit, flaw: flaw)
        let natures = OutboxWorld.Nature.allCases
        for id in 0..<15 {
            simulator.step(within: 0...2_000) { world.enqueue(id, natures[id % natures.count]) }
        }
        for _ in 0..<3 { simulator.step { world.work(until: 8_000, diesWith: 0.1) } }
        guard simulator.run() else { return ["never at rest"] }

        var wrong: [String] = world.stolen.map { "\($0) settled under another's lease" }
        for (id, nature) in world.natures.sorted(by: { $0.key < $1.key }) {
            let runs = world.runs[id] ?? 0
            let buried = world.dead[id]
            switch nature {
            case .works, .failsTwice, .targetIsDown:
                if runs == 0 || buried != nil { wrong.append("\(id) \(nature): \(runs) runs") }
            case .hopeless:
                if buried == nil { wrong.append("\(id) is not among the dead") }
            case .alwaysFails:
                if buried ?? 0 < Self.attemptLimit { wrong.append("\(id) died too early") }
            }
        }
        if !world.rows.isEmpty { wrong.append("rows are left") }
        return wrong
    }

    @Test func `an effect may run twice but never zero times, and what is given up is listed`() {
        for seed in Self.seeds { #expect(history(seed: seed) == [], "seed \(seed)") }
    }

    @Test(arguments: [OutboxWorld.Flaw.settlesWithoutToken, .deletesAtClaim])
    func `an outbox with a known flaw is caught`(flaw: OutboxWorld.Flaw) {
        let caught = Self.seeds.contains { !history(seed: $0, flaw: flaw).isEmpty }

        #expect(caught)
    }
}
