import Coordination
import JSON
import Sharding

/// Runs a move against databases that do what they are asked, one event at a time.
struct MoveRun {
    /// The owner rows of one bucket on both sides, as the move changes them.
    struct Databases {
        enum State { case own, fenced, released, gone }
        var source = "s1"
        var target = "s2"
        var state = State.own
        var epoch: Int64 = 1
        var attempt: String?
        var isActive = false
        var incoming: Int64?
        var hasSlot = false

        var owner: String? { isActive ? target : state == .own ? source : nil }

        /// As the rollback of a move sees them.
        func turned() -> Databases {
            Databases(source: target, target: source, state: .own, epoch: epoch + 1, hasSlot: true)
        }
    }

    private(set) var move: BucketMove
    var databases: Databases
    /// Work that fails, and how often; nil for always.
    var failing: [String: MoveFailure] = [:]
    var failures: Int?

    private(set) var works: [String] = []
    private(set) var journalled: [MoveStep] = []
    private(set) var journal: [UInt8]
    private(set) var waits: [Duration] = []
    private(set) var turn = 0
    private(set) var pauseTurn = 0
    private var next: MoveEvent?

    init(_ move: BucketMove, databases: Databases = Databases()) {
        self.move = move
        self.databases = databases
        journal = move.jsonBytes
        next = .begin
    }

    /// Until that work has been asked for, which is then not done yet.
    mutating func run(until work: String) {
        for _ in 0..<2_000 where works.last != work { step() }
        precondition(works.last == work, "never came to \(work), but to \(move.step): \(works)")
    }

    mutating func toEnd() {
        for _ in 0..<2_000 where !move.step.isFinal { step() }
        precondition(move.step.isFinal, "never came to an end, but to \(move.step): \(works)")
    }

    /// Does what was asked last, and tells the move.
    mutating func step() {
        guard let event = next else { return }
        next = nil
        if case .done(let turn, _) = event, let work = move.doing {
            if let failure = failing[work.name], failures != 0 {
                failures = failures.map { $0 - 1 }
                take(.failed(turn: turn, failure))
            } else {
                take(.done(turn: turn, fact(of: work)))
            }
            return
        }
        take(event)
    }

    @discardableResult
    mutating func take(_ event: MoveEvent) -> [MoveEffect] {
        let effects = move.handle(event)
        for effect in effects {
            switch effect {
            case .journal:
                journal = move.jsonBytes
                journalled.append(move.step)
            case .note: journal = move.jsonBytes
            case .perform(let work, let turn, _):
                works.append(work.name)
                self.turn = turn
                // What it finds out is looked up when it is done.
                next = .done(turn: turn, .nothing)
            case .wait(let time, let turn) where turn < 0:
                _ = time
                pauseTurn = turn
            case .wait(let time, let turn):
                waits.append(time)
                next = .waited(turn: turn)
            case .start, .finished: next = nil
            }
        }
        return effects
    }

    // MARK: What the databases say

    private mutating func fact(of work: MoveWork) -> MoveFact {
        switch work {
        case .observe: return .observed(observed)
        case .precheck: return .size(rows: 10, bytes: 1_000)
        case .prepareTarget:
            databases.incoming = databases.epoch + 1
            return .epochs([Epoch(rawValue: databases.epoch)])
        case .openStream: databases.hasSlot = true
        case .copy: return .copied(rows: 10, bytes: 1_000)
        case .measureLag, .measureReverse: return .lag(bytes: 0, oldestWriter: .zero)
        case .verify, .compareTail: return .compared(source: "same", target: "same")
        case .fence(let attempt, _):
            databases.state = .fenced
            databases.attempt = attempt.description
        case .release: databases.state = .released
        case .giveUp:
            if databases.state == .released { return .released }
            databases.state = .own
            databases.epoch += 2
            return .gaveUp([Epoch(rawValue: databases.epoch)])
        case .activate: databases.isActive = true
        case .settleSource: databases.state = .gone
        case .undo: databases.incoming = nil
        default: break
        }
        return .nothing
    }

    private var observed: ObservedMove {
        let state: OwnerRow.State =
            switch databases.state {
            case .own: .own
            case .fenced: .fenced
            case .released: .released
            case .gone: .gone
            }
        let source = OwnerRow(
            state: state,
            epoch: Epoch(rawValue: databases.epoch),
            attempt: databases.attempt,
            next: ShardID(databases.target)
        )
        var target: OwnerRow?
        if databases.isActive {
            target = OwnerRow(state: .own, epoch: Epoch(rawValue: databases.epoch + 1))
        } else if let incoming = databases.incoming {
            target = OwnerRow(
                state: .incoming,
                epoch: Epoch(rawValue: incoming),
                attempt: move.spec.id.description
            )
        }
        return ObservedMove(
            source: ObservedMove.Side(owners: [source], hasSlot: databases.hasSlot),
            target: ObservedMove.Side(owners: [target])
        )
    }
}
