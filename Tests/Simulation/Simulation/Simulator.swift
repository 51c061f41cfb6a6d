/// Runs steps of a distributed system on one thread, in virtual time, in an order drawn from a seed.
///
/// Everything that can happen concurrently is a step; each step is atomic, as one transaction on one
/// shard is. Whatever lies between two steps of an actor can be interleaved with anything else, delayed,
/// or lost in a crash. The same seed gives the same run.
package final class Simulator {
    /// Steps that a run may take before it counts as never becoming quiet.
    package static let stepBound = 200_000

    package let seed: UInt64
    /// Virtual milliseconds.
    package private(set) var now = 0
    package private(set) var steps = 0
    package var random: SeededGenerator
    /// A heap: the step that is due first is at the front.
    private var queue: [Pending] = []
    private var serial = 0

    private struct Pending {
        var at: Int
        var serial: Int
        var body: () -> Void

        func isBefore(_ other: Pending) -> Bool {
            at == other.at ? serial < other.serial : at < other.at
        }
    }

    package init(seed: UInt64) {
        self.seed = seed
        random = SeededGenerator(seed: seed)
    }

    /// Runs `body` after a delay drawn from `delay`, in virtual milliseconds.
    package func step(within delay: ClosedRange<Int> = 0...50, _ body: @escaping () -> Void) {
        let chosen =
            delay.count == 1 ? delay.lowerBound : Int.random(in: delay, using: &random)
        step(after: chosen, body)
    }

    /// Runs `body` after exactly that many virtual milliseconds.
    package func step(after delay: Int, _ body: @escaping () -> Void) {
        serial += 1
        push(Pending(at: now + delay, serial: serial, body: body))
    }

    /// True with the given probability.
    package func chance(_ probability: Double) -> Bool {
        Double.random(in: 0..<1, using: &random) < probability
    }

    /// Runs until nothing is left to do. Returns false if that never happens within ``stepBound``.
    package func run() -> Bool { run(until: .max, bound: Self.stepBound) }

    /// Runs what is due until that time. Returns false if that takes more steps than the bound.
    package func run(until end: Int, bound: Int) -> Bool {
        while let first = queue.first, first.at <= end {
            guard steps < bound else { return false }
            let pending = pop()
            now = max(now, pending.at)
            steps += 1
            pending.body()
        }
        return true
    }

    private func push(_ pending: Pending) {
        queue.append(pending)
        var child = queue.count - 1
        while child > 0, queue[child].isBefore(queue[(child - 1) / 2]) {
            queue.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    private func pop() -> Pending {
        queue.swapAt(0, queue.count - 1)
        let first = queue.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < queue.count {
                if queue[child].isBefore(queue[least]) { least = child }
            }
            guard least != parent else { return first }
            queue.swapAt(parent, least)
            parent = least
        }
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
