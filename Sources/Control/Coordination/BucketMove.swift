package import Sharding

/// Some buckets on their way from one shard to another.
///
/// It takes events and returns effects, and does nothing itself: no clock, no database. What it knows is written to
/// the journal before the effects that rely on it run, so that a coordinator which dies anywhere is succeeded by
/// one that has only the journal and what the databases say. Where the two differ the databases are right:
/// ``MoveWork/observe`` comes first whenever a move is taken up.
///
/// Only the owner rows on the source decide who may write. `fenced` becomes `released` or `own` again, by
/// compare-and-set; the target is activated only by somebody who has seen `released`, which never reverts.
package struct BucketMove: Sendable, Equatable {
    package let spec: MoveSpec
    package var policy: MovePolicy

    // What the journal holds.

    package internal(set) var step: MoveStep = .planned
    /// The last attempt at the fence; 0 before the first.
    package internal(set) var attempt = 0
    /// The epochs at which the source owns the buckets, or owned them; empty until it has been asked.
    package internal(set) var epochs: [Epoch] = []
    /// The last run of the copy, which is how often it was started; 0 before the first.
    package internal(set) var copies = 0
    package internal(set) var rows: Int64 = 0
    package internal(set) var bytes: Int64 = 0
    /// What both sides agreed on; nil while the present copy has not been verified.
    package internal(set) var digest: String?
    /// A reverse slot waits on the target, or feeds the source: the move can be rolled back.
    package internal(set) var hasReverse = false
    /// Why the move is being taken back, or was.
    package internal(set) var undoing: String?
    /// The move that rolls this one back.
    package internal(set) var handedTo: MoveID?
    /// From the first try of the last fence to the activation, as the coordinator that did both measured it.
    package var pauseMilliseconds: Double?
    /// The part of the retention that is over.
    package internal(set) var retained: Duration = .zero
    /// The last thing that went wrong; nil once the move has come further.
    package internal(set) var trouble: String?

    // What only this coordinator knows.

    /// The work that is under way or waited for.
    package internal(set) var doing: MoveWork?
    var turn = 0
    var isWaiting = false
    var pauseTurn: Int?
    /// Failures in a row of the present work.
    var tries = 0
    var lagChecks = 0
    /// The stream is of no use any more: after giving up, the copy starts again.
    var mustCopyAgain = false
    /// A reverse slot has been made for the present stream.
    var reverseIsReady: Bool { hasReverse }

    package init(spec: MoveSpec, policy: MovePolicy = MovePolicy()) {
        self.spec = spec
        self.policy = policy
    }

    package var isRollback: Bool { if case .rollback = spec.kind { true } else { false } }

    /// A rollback can be asked for now.
    package var canRollBack: Bool {
        step == .reverseSync && hasReverse && handedTo == nil && !isRollback
    }

    /// Takes one event and returns what must happen next. An event that no longer fits changes nothing.
    package mutating func handle(_ event: MoveEvent) -> [MoveEffect] {
        switch event {
        case .begin: return begin()
        case .done(let turn, let fact):
            guard turn == self.turn, !isWaiting, let work = doing else { return [] }
            tries = 0
            let before = step
            let effects = proceed(from: work, fact)
            if step > before { trouble = nil }
            return effects
        case .failed(let turn, let failure):
            guard turn == self.turn, !isWaiting, let work = doing else { return [] }
            tries += 1
            trouble = failure.message
            return suffer(failure, in: work)
        case .waited(let turn):
            if turn == pauseTurn { return pauseIsOver() }
            guard turn == self.turn, isWaiting else { return [] }
            return waitIsOver()
        case .abortAsked(let reason): return abort(reason)
        case .retireAsked: return retireNow()
        case .rollbackAsked(let id): return rollBack(as: id)
        case .rollbackEnded(let step): return rollbackEnded(step)
        }
    }

    // MARK: What is asked for

    mutating func perform(_ work: MoveWork) -> [MoveEffect] {
        turn += 1
        doing = work
        isWaiting = false
        return [.perform(work, turn: turn, limit: limit(of: work))]
    }

    /// The work again, or for the first time, after a while.
    mutating func wait(_ duration: Duration, then work: MoveWork?) -> [MoveEffect] {
        turn += 1
        doing = work
        isWaiting = true
        return [.wait(duration, turn: turn)]
    }

    private func limit(of work: MoveWork) -> Duration? {
        switch work {
        case .openStream, .copy, .verify, .clean, .undo: nil
        case .fence, .awaitMarker, .compareTail, .advanceReverse: policy.pauseLimit
        default: policy.workLimit
        }
    }

    /// Twice as long with every failure in a row, up to the longest.
    func backOff(_ times: Int) -> Duration {
        min(policy.firstWait * (1 << min(max(times - 1, 0), 16)), policy.longestWait)
    }

    /// The name of the present attempt at the fence.
    var present: FenceAttempt { FenceAttempt(move: spec.id, number: max(attempt, 1)) }

    // MARK: What people ask for

    private mutating func abort(_ reason: String) -> [MoveEffect] {
        guard undoing == nil, !step.isFinal, !step.isCommitted else { return [] }
        switch doing {
        case .release:
            // It may have been released by now; only the source knows, and giving up asks it.
            undoing = reason
            return [.note] + giveUp()
        case .activate, .giveUp, .observe, nil:
            undoing = reason
            return [.note]
        case .precheck: return end(undone: reason)
        default:
            undoing = reason
            if step.isPause { return [.note] + giveUp() }
            return [.journal] + undo()
        }
    }

    private mutating func retireNow() -> [MoveEffect] {
        guard step == .reverseSync, handedTo == nil, retained < policy.retention else { return [] }
        retained = policy.retention
        return retire()
    }

    private mutating func rollBack(as id: MoveID) -> [MoveEffect] {
        guard canRollBack, let back = rollback(as: id) else { return [] }
        handedTo = id
        turn += 1
        doing = nil
        isWaiting = false
        return [.journal, .start(back)]
    }

    /// The move that brings the buckets back through the reverse stream.
    func rollback(as id: MoveID) -> MoveSpec? {
        MoveSpec(
            id: id,
            kind: .rollback(of: spec.id),
            source: spec.target,
            target: spec.source,
            buckets: spec.buckets
        )
    }

    private mutating func rollbackEnded(_ end: MoveStep) -> [MoveEffect] {
        guard handedTo != nil, step == .reverseSync, end.isFinal else { return [] }
        if end == .cleaned {
            // The rollback took the stream and the rows over, and removed both.
            undoing = "rolled back by \(handedTo!)"
            step = .undone
            doing = nil
            return [.journal, .finished]
        }
        handedTo = nil
        return [.journal] + perform(.observe(run: copies))
    }

    /// The end of a move that has made nothing yet.
    mutating func end(undone reason: String) -> [MoveEffect] {
        undoing = reason
        step = .undone
        doing = nil
        turn += 1
        isWaiting = false
        return [.journal, .finished]
    }
}
