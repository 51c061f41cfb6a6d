internal import Simulation

/// Who sends and who answers.
package enum Party: Hashable, Comparable, Sendable {
    case shard(Int)
    case etcd
    case coordinator(Int)
    case node(Int)
    case worker
}

/// How unkind a run is.
package struct Faults: Sendable {
    /// That a request is lost, or its answer.
    package var loss = 0.0
    /// That a request happens a second time, later.
    package var duplicate = 0.0
    /// That a request or an answer takes seconds.
    package var slow = 0.0
    /// Virtual milliseconds between two crashes, cuts or pauses of a kind; nil for none.
    package var coordinatorCrash: Int?
    package var coordinatorPause: Int?
    package var shardCrash: Int?
    package var nodePause: Int?
    package var cut: Int?
    package var etcdStop: Int?
    /// That a coordinator dies just before or after one of its effects.
    package var crashAtEffect = 0.0
    /// That a shard's crash is a failover, which loses its slots.
    package var failover = 0.3
}

/// Messages between parties: each arrives late, or never, or twice, and cut links carry none.
final class Network {
    private let simulator: Simulator
    var faults: Faults
    private var cuts: [Set<Party>: Int] = [:]

    /// How long a caller waits for an answer that does not come.
    static let patience = 300...3_000

    init(_ simulator: Simulator, faults: Faults) {
        self.simulator = simulator
        self.faults = faults
    }

    func cut(_ a: Party, _ b: Party, for time: Int) {
        cuts[[a, b]] = max(cuts[[a, b]] ?? 0, simulator.now + time)
    }

    func isCut(_ a: Party, _ b: Party) -> Bool { (cuts[[a, b]] ?? 0) > simulator.now }

    private var delay: Int {
        if simulator.chance(faults.slow) {
            return Int.random(in: 100...9_000, using: &simulator.random)
        }
        return Int.random(in: 0...4, using: &simulator.random)
    }

    /// Has `body` happen at the other party, once or twice or not at all; `answered` hears its result, or nil when none comes.
    /// `body` gives a result by its argument, when it has one, which may be later.
    func call<Result>(
        from: Party,
        to: Party,
        _ body: @escaping (@escaping (Result) -> Void) -> Void,
        answered: @escaping (Result?) -> Void
    ) {
        var isAnswered = false
        let answer = { (result: Result?) in
            guard !isAnswered else { return }
            isAnswered = true
            answered(result)
        }
        if isCut(from, to) || simulator.chance(faults.loss) {
            simulator.step(within: Self.patience) { answer(nil) }
            return
        }
        let arrival = delay
        simulator.step(after: arrival) { [self] in
            body { [self] result in
                guard !isCut(from, to), !simulator.chance(faults.loss) else { return }
                simulator.step(after: delay) { answer(result) }
            }
        }
        if simulator.chance(faults.duplicate) {
            simulator.step(within: arrival...arrival + 12_000) { body { _ in } }
        }
        // Whoever is never answered gives up waiting.
        if faults.isUnkind {
            simulator.step(within: 12_000...20_000) { answer(nil) }
        }
    }
}

extension Faults {
    var isUnkind: Bool {
        loss > 0 || slow > 0 || shardCrash != nil || cut != nil || etcdStop != nil
    }
}
