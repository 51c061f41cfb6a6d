/// Runs steps of a distributed system on one thread, in virtual time, in an order drawn from a seed.
///
/// Everything that can happen concurrently is a step; each step is atomic, as one transaction on one
/// shard is. Whatever lies between two steps of an actor can be interleaved with anything else, delayed,
/// or lost in a crash. The same seed gives the same run.
package final class Simulator {
    /// Steps that a run may take before it counts as never becoming quiet.
    package static let stepBound = 200_000

    package let seed: UInt64
    package private(set) var now = 0
    package private(set) var steps = 0
    package var random: SeededGenerator
    private var queue: [Pending] = []
    private var serial = 0

    private struct Pending {
        var at: Int
        var serial: Int
        var body: () -> Void
    }

    package init(seed: UInt64) {
        self.seed = seed
        random = SeededGenerator(seed: seed)
    }

    /// Runs `body` after a delay drawn from `delay`, in virtual milliseconds.
    package func step(within delay: ClosedRange<Int> = 0...50, _ body: @escaping () -> Void) {
        serial += 1
        queue.append(
            Pending(at: now + Int.random(in: delay, using: &random), serial: serial, body: body)
        )
    }

    /// True with the given probability.
    package func chance(_ probability: Double) -> Bool {
        Double.random(in: 0..<1, using: &random) < probability
    }

    /// Runs until nothing is left to do. Returns false if that never happens within ``stepBound``.
    package func run() -> Bool {
        while let next = queue.indices.min(by: { earlier(queue[$0], queue[$1]) }) {
            guard steps < Simulator.stepBound else { return false }
            let pending = queue.remove(at: next)
            now = max(now, pending.at)
            steps += 1
            pending.body()
        }
        return true
    }

    private func earlier(_ a: Pending, _ b: Pending) -> Bool {
        (a.at, a.serial) < (b.at, b.serial)
    }
}

/// A small generator whose sequence depends on the seed alone (SplitMix64).
package struct SeededGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
