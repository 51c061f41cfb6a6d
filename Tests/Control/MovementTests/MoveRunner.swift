import Coordination
import JSON
import Movement
import Sharding

/// A coordinator with one move, no etcd and no map: it runs the machine's effects by a driver.
final class MoveRunner {
    let driver: MoveDriver
    private(set) var move: BucketMove
    private(set) var steps: [MoveStep] = []
    private(set) var works: [String] = []
    private(set) var failures: [String] = []
    var repeatsWork = false

    /// Leaves everything where it is when the journal has this step, as a coordinator that dies.
    var dieAfter: MoveStep?

    /// Called before each piece of work, which fails with what it throws if that is a `MoveFailure`.
    var beforeWork: ((MoveWork) async throws -> Void)?

    private var queue: [MoveEffect] = []

    init(_ spec: MoveSpec, _ driver: MoveDriver, _ adjust: (inout MovePolicy) -> Void = { _ in }) {
        var policy = MovePolicy()
        policy.retention = .zero
        policy.retentionSlice = .milliseconds(10)
        policy.keepsReverse = false
        policy.lagPoll = .milliseconds(20)
        adjust(&policy)
        self.driver = driver
        move = BucketMove(spec: spec, policy: policy)
    }

    /// The successor of one that died: it has the journal, and a driver of its own.
    init(after other: MoveRunner, _ driver: MoveDriver) throws {
        self.driver = driver
        let text = other.move.jsonBytes
        move = try BucketMove(journal: JSONReader.parse(text), policy: other.move.policy)
    }

    struct Died: Error {}

    /// Work that fails again and again is tried for ever by a machine, but not by a test.
    struct Stuck: Error { let failures: [String] }

    private static let failureLimit = 15

    /// Runs until the move is over, or waits in its retention when `untilRetention`.
    func run(untilRetention: Bool = false) async throws {
        try await handle(.begin)
        while !queue.isEmpty {
            let effect = queue.removeFirst()
            switch effect {
            case .journal, .note:
                if steps.last != move.step { steps.append(move.step) }
                if case .journal = effect, move.step == dieAfter { throw Died() }
            case .perform(let work, let turn, _): try await perform(work, turn)
            case .wait(let duration, let turn):
                // The end of the pause is the machine's own clock, which these tests leave alone.
                if turn < 0 { continue }
                if untilRetention, move.step == .reverseSync { return }
                try await Task.sleep(for: duration)
                try await handle(.waited(turn: turn))
            case .start: return
            case .finished: return
            }
        }
    }

    func handle(_ event: MoveEvent) async throws { queue += move.handle(event) }

    private func perform(_ work: MoveWork, _ turn: Int) async throws {
        works.append(work.name)
        do {
            try await beforeWork?(work)
            var fact = try await act(work)
            if repeatsWork, Self.canRepeat(work) { fact = try await act(work) }
            try await handle(.done(turn: turn, fact))
        } catch let failure as MoveFailure {
            failures.append("\(work.name): \(failure)")
            guard failures.count < Self.failureLimit else { throw Stuck(failures: failures) }
            try await handle(.failed(turn: turn, failure))
        }
    }

    /// A run is used once, and so is its snapshot; a machine repeats both together.
    private static func canRepeat(_ work: MoveWork) -> Bool {
        switch work {
        case .openStream, .copy: false
        default: true
        }
    }

    private func act(_ work: MoveWork) async throws -> MoveFact {
        if case .publish = work { return .nothing }
        return try await driver.perform(work, of: move.spec)
    }
}
