import Jobs
import Simulation

/// One shard's outbox and some workers that claim from it, die, are slow, and come back.
///
/// Claims, settlements and lease ends are the statements of `OutboxStore`; what becomes of an attempt is decided
/// by the product's own `RetryPolicy`. Time is virtual milliseconds.
final class OutboxWorld {
    struct Row {
        var attempts = 0
        var dueAt = 0
        var token: Int?
    }

    enum Flaw {
        /// A worker completes a row whatever has become of its lease.
        case settlesWithoutToken
        /// A claim deletes the row, so that a death loses it.
        case deletesAtClaim
    }

    /// How an effect's handler behaves.
    enum Nature: CaseIterable {
        case works, failsTwice, alwaysFails, hopeless, targetIsDown
    }

    static let lease = 1_000

    let simulator: Simulator
    let flaw: Flaw?
    let policy: RetryPolicy
    private(set) var rows: [Int: Row] = [:]
    private(set) var dead: [Int: Int] = [:]
    private(set) var natures: [Int: Nature] = [:]
    private(set) var runs: [Int: Int] = [:]
    /// Rows that a worker removed although another one held the lease.
    private(set) var stolen: Set<Int> = []
    private var nextToken = 1
    private var downUntil = 5_000

    init(_ simulator: Simulator, attemptLimit: Int, flaw: Flaw? = nil) {
        self.simulator = simulator
        self.flaw = flaw
        var policy = RetryPolicy()
        policy.attemptLimit = attemptLimit
        self.policy = policy
    }

    func enqueue(_ id: Int, _ nature: Nature) {
        rows[id] = Row(dueAt: simulator.now)
        natures[id] = nature
    }

    /// A worker looks for work until it dies or there is none left.
    func work(until end: Int, diesWith chance: Double) {
        guard simulator.now < end || !rows.isEmpty else { return }
        let due = rows.filter { $0.value.dueAt <= simulator.now }.map(\.key).sorted()
        if let id = due.first {
            perform(claim(id), id, diesWith: simulator.now < end ? chance : 0)
        }
        simulator.step(within: 5...50) { [self] in work(until: end, diesWith: chance) }
    }

    private func claim(_ id: Int) -> Int {
        nextToken += 1
        rows[id]?.attempts += 1
        rows[id]?.token = nextToken
        rows[id]?.dueAt = simulator.now + Self.lease
        return nextToken
    }

    private func perform(_ token: Int, _ id: Int, diesWith chance: Double) {
        let attempts = rows[id]?.attempts ?? 0
        if flaw == .deletesAtClaim { rows[id] = nil }
        guard !simulator.chance(chance) else { return }
        // A handler may take longer than its lease.
        simulator.step(within: 0...1_500) { [self] in
            guard !simulator.chance(chance) else { return }
            runs[id, default: 0] += 1
            let decision = policy.decide(
                outcome(of: id),
                attempts: attempts,
                chance: Double.random(in: 0..<1, using: &simulator.random)
            )
            simulator.step { [self] in
                guard !simulator.chance(chance) else { return }
                settle(id, token, decision)
            }
        }
    }

    private func outcome(of id: Int) -> RetryPolicy.Outcome {
        switch natures[id]! {
        case .works: .succeeded
        case .failsTwice: runs[id]! > 2 ? .succeeded : .failed("not yet")
        case .alwaysFails: .failed("never")
        case .hopeless: .hopeless("bad payload")
        case .targetIsDown: simulator.now < downUntil ? .unavailable("s2") : .succeeded
        }
    }

    private func settle(_ id: Int, _ token: Int, _ decision: RetryPolicy.Decision) {
        if rows[id]?.token != token {
            guard flaw == .settlesWithoutToken else { return }
            if rows[id] != nil { stolen.insert(id) }
        }
        switch decision {
        case .complete: rows[id] = nil
        case .bury:
            if let row = rows[id] { dead[id] = row.attempts }
            rows[id] = nil
        case .retry(let delay, let counts, _):
            rows[id]?.token = nil
            rows[id]?.dueAt = simulator.now + Int(delay / .milliseconds(1))
            if !counts { rows[id]?.attempts -= 1 }
        }
    }
}
