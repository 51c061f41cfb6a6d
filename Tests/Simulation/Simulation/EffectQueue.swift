/// How unkind a run is to its effects.
package struct EffectFaults: Sendable {
    package var crash: Double
    package var duplicate: Double
    package var delay: ClosedRange<Int>

    package init(crash: Double = 0.15, duplicate: Double = 0.1, delay: ClosedRange<Int> = 0...300) {
        self.crash = crash
        self.duplicate = duplicate
        self.delay = delay
    }
}

/// The outbox and its workers: every effect runs at least once, in any order, perhaps several times at
/// once, and a worker may die between any two of its steps.
package final class EffectQueue<Effect> {
    private let simulator: Simulator
    private let faults: EffectFaults
    /// The steps of one effect, in order; each is atomic and sees what the earlier ones noted.
    private let plan: (Effect) -> [() -> Void]

    package init(
        _ simulator: Simulator,
        faults: EffectFaults,
        plan: @escaping (Effect) -> [() -> Void]
    ) {
        self.simulator = simulator
        self.faults = faults
        self.plan = plan
    }

    /// Called inside the step that commits the cause.
    package func enqueue(_ effect: Effect) {
        deliver(effect)
        if simulator.chance(faults.duplicate) { deliver(effect) }
    }

    private func deliver(_ effect: Effect) {
        simulator.step(within: faults.delay) { [self] in
            perform(plan(effect)[...], of: effect)
        }
    }

    private func perform(_ steps: ArraySlice<() -> Void>, of effect: Effect) {
        guard let step = steps.first else { return }
        if simulator.chance(faults.crash) {
            // The worker died; its lease runs out and another one starts from the beginning.
            return deliver(effect)
        }
        step()
        simulator.step { [self] in perform(steps.dropFirst(), of: effect) }
    }
}
