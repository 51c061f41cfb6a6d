internal import Sharding

// How a coordinator takes a move up that another one has left, wherever that was.

extension BucketMove {
    mutating func begin() -> [MoveEffect] {
        // One that works on it already has nothing to take up.
        guard doing == nil else { return [] }
        if handedTo != nil, step == .reverseSync, let back = rollback(as: handedTo!) {
            return [.start(back)]
        }
        return perform(.observe(run: copies))
    }

    mutating func resume(_ seen: ObservedMove) -> [MoveEffect] {
        if step.isFinal { return lookForLeftovers(seen) }
        if step >= .published {
            // A rollback that was undone has left a higher epoch; nobody else touches these rows before the move is over.
            if case .gone(let now) = seen.source?.says, zip(epochs, now).allSatisfy({ $0 <= $1 }) {
                epochs = now
            }
            return goOn()
        }
        guard let source = seen.source else {
            // After the release nothing is needed of the source, and before it nothing can be decided.
            if step == .activated { return goOn() }
            return step == .released ? released() : lookAgain("the source does not answer")
        }
        switch source.says {
        case .released(let attempt, let epochs) where attempt.move == spec.id:
            self.attempt = attempt.number
            self.epochs = epochs
            return released()
        case .fenced(let attempt, let epochs) where attempt.move == spec.id:
            self.attempt = max(self.attempt, attempt.number)
            self.epochs = epochs
            if step < .fencing { step = .fencing }
            // The pause has lasted for a whole succession; ending it needs the source alone.
            return perform(.giveUp(attempt, epochs))
        case .gone(let epochs) where ownedByTarget(seen, above: epochs):
            self.epochs = epochs
            step = .activated
            return goOn()
        case .own(let epochs):
            guard step < .released else { return lookAgain("the source owns what it released") }
            if step >= .fencing { return giveUp() }
            self.epochs = epochs
            return begin(from: source)
        default:
            if step <= .prechecked { return perform(.precheck) }
            return lookAgain("the source's owner rows are not this move's")
        }
    }

    private func ownedByTarget(_ seen: ObservedMove, above epochs: [Epoch]) -> Bool {
        guard case .own(let theirs) = seen.target?.says else { return false }
        return theirs == epochs.map(\.next)
    }

    private mutating func lookAgain(_ reason: String) -> [MoveEffect] {
        tries += 1
        trouble = reason
        return wait(backOff(tries), then: .observe(run: copies))
    }

    /// The source owns the buckets, and no fence is on its way.
    private mutating func begin(
        from source: ObservedMove.Side
    ) -> [MoveEffect] {
        if undoing != nil {
            return step == .planned ? end(undone: undoing!) : undo()
        }
        switch step {
        case .planned, .prechecked: return perform(.precheck)
        case .prepared, .copying: return perform(.prepareTarget)
        default:
            // A subscription can be made again, but a slot that is gone has taken with it what came since.
            if !isRollback, !source.hasSlot { return copyAgain("the slot is gone") }
            return perform(.prepareTarget)
        }
    }

    /// From a step after the release, by the journal alone.
    private mutating func goOn() -> [MoveEffect] {
        switch step {
        case .activated: return perform(.publish(owner: spec.target, epochs.map(\.next)))
        case .published: return perform(.settleSource(present))
        case .reverseSync: return perform(.measureReverse)
        default: return perform(hasReverse ? .stopReverse : .clean(epochs))
        }
    }

    private mutating func lookForLeftovers(_ seen: ObservedMove) -> [MoveEffect] {
        // A late request of a predecessor has put the target's rows back; only undoing takes them away.
        if seen.isExpected(by: spec.id) { return perform(.undo) }
        if seen.hasLeftovers { return perform(step == .cleaned ? .clean(epochs) : .undo) }
        doing = nil
        return [.finished]
    }
}

extension ObservedMove {
    /// Something of a finished move's is left on a side that answers.
    package var hasLeftovers: Bool {
        [source, target].contains { side in
            guard let side else { return false }
            return side.hasSlot || side.hasSubscription || side.hasOther
        }
    }

    /// The target's owner rows still wait for the move.
    func isExpected(by move: MoveID) -> Bool {
        target?.owners.contains { $0?.state == .incoming && $0?.attempt == move.description }
            ?? false
    }
}
