internal import Sharding

// What follows from each piece of work that is done.

extension BucketMove {
    mutating func proceed(from work: MoveWork, _ fact: MoveFact) -> [MoveEffect] {
        switch (work, fact) {
        case (.observe, .observed(let seen)): return resume(seen)
        case (.precheck, .size(let rows, let bytes)):
            (self.rows, self.bytes) = (rows, bytes)
            step = .prechecked
            return [.journal] + perform(.prepareTarget)
        case (.prepareTarget, .epochs(let epochs)):
            self.epochs = epochs
            return prepared()
        case (.openStream, .nothing):
            step = .copying
            return [.journal] + perform(.copy(run: copies))
        case (.copy, .copied(let rows, let bytes)):
            (self.rows, self.bytes) = (rows, bytes)
            step = .catchingUp
            return [.journal] + perform(.attachStream(run: copies))
        case (.attachStream, .nothing): return perform(.measureLag(run: copies))
        case (.measureLag, .lag(let bytes, let oldestWriter)):
            return lagMeasured(bytes, oldestWriter)
        case (.verify, .compared(let source, let target)):
            guard source == target else { return copyAgain("the copy differs from the source") }
            digest = source
            return [.note]
                + (keepsReverse && !hasReverse
                    ? perform(.prepareReverse) : perform(.measureLag(run: copies)))
        case (.prepareReverse, .nothing):
            hasReverse = true
            return [.note] + perform(.measureLag(run: copies))
        default: return proceedInPause(from: work, fact)
        }
    }

    /// Between the fence and the activation: as few steps as can be, none of which waits for the journal.
    private mutating func proceedInPause(from work: MoveWork, _ fact: MoveFact) -> [MoveEffect] {
        switch (work, fact) {
        case (.fence, .nothing):
            step = .fenced
            return [.note] + perform(.awaitMarker(present))
        case (.awaitMarker, .nothing):
            step = .drained
            return [.note] + perform(.compareTail(present))
        case (.compareTail, .compared(let source, let target)):
            guard source == target else {
                mustCopyAgain = true
                trouble = "what was applied last differs from the source"
                return giveUp()
            }
            return perform(hasReverse && !isRollback ? .advanceReverse(present) : .release(present))
        case (.advanceReverse, .nothing): return perform(.release(present))
        case (.release, .nothing), (.giveUp, .released): return released()
        case (.giveUp, .gaveUp(let epochs)): return gaveUp(epochs)
        case (.activate, .nothing):
            step = .activated
            return [.note] + perform(.publish(owner: spec.target, epochs.map(\.next)))
        default: return proceedAfter(work, fact)
        }
    }

    private mutating func proceedAfter(_ work: MoveWork, _ fact: MoveFact) -> [MoveEffect] {
        switch (work, fact) {
        case (.publish(let owner, _), .nothing):
            guard owner == spec.target else { return givenUpIsKnown() }
            step = .published
            return [.journal] + perform(.settleSource(present))
        case (.settleSource, .nothing): return perform(.detachStream)
        case (.detachStream, .nothing):
            return hasReverse && !isRollback ? perform(.startReverse) : retire()
        case (.startReverse, .nothing):
            step = .reverseSync
            return [.journal] + wait(nextSlice, then: .measureReverse)
        case (.measureReverse, .lag): return wait(nextSlice, then: .measureReverse)
        case (.stopReverse, .nothing):
            hasReverse = false
            return [.note] + perform(.clean(epochs))
        case (.clean, .nothing): return end(at: .cleaned)
        case (.undo, .nothing): return end(at: .undone)
        default:
            // A driver that answers with a fact of another kind is at fault; the work is asked for again.
            return wait(backOff(tries + 1), then: work)
        }
    }

    /// The end, or only the end of tidying up after it.
    private mutating func end(at last: MoveStep) -> [MoveEffect] {
        doing = nil
        guard !step.isFinal else { return [.finished] }
        step = last
        hasReverse = false
        return [.journal, .finished]
    }

    private var keepsReverse: Bool { policy.keepsReverse && !isRollback }

    // MARK: Before the fence

    private mutating func prepared() -> [MoveEffect] {
        if undoing != nil { return undo() }
        switch step {
        case .planned, .prechecked:
            step = isRollback ? .catchingUp : .prepared
            return isRollback ? [.journal] + perform(.measureLag(run: copies)) : openStream()
        case .prepared, .copying: return openStream()
        default:
            return isRollback
                ? perform(.measureLag(run: copies)) : perform(.attachStream(run: copies))
        }
    }

    /// The next run of the copy, which is in the journal before it begins: no two coordinators use the same.
    mutating func openStream(after pause: Duration? = nil) -> [MoveEffect] {
        copies += 1
        step = .prepared
        mustCopyAgain = false
        digest = nil
        let work = MoveWork.openStream(run: copies)
        return [.journal] + (pause.map { wait($0, then: work) } ?? perform(work))
    }

    /// The copy is of no use: from the start, or not at all when it came to nothing too often.
    mutating func copyAgain(_ reason: String) -> [MoveEffect] {
        trouble = reason
        guard !isRollback, copies < policy.copyLimit else { return takeBack(reason) }
        return openStream()
    }

    /// Takes everything back; the source owns the buckets and is not fenced.
    mutating func takeBack(_ reason: String) -> [MoveEffect] {
        undoing = undoing ?? reason
        return [.journal] + undo()
    }

    /// Giving up has raised the source's epochs, which the map must know before the move is forgotten.
    mutating func undo() -> [MoveEffect] {
        perform(attempt > 0 ? .publish(owner: spec.source, epochs) : .undo)
    }

    private mutating func lagMeasured(_ bytes: Int64, _ oldestWriter: Duration) -> [MoveEffect] {
        let near = bytes <= policy.lagLimitBytes
        // What a predecessor was verifying when it died has not been verified.
        if near, digest == nil {
            step = .verifying
            return [.journal] + perform(.verify(run: copies))
        }
        if near, oldestWriter <= policy.writerLimit { return fence() }
        lagChecks += 1
        guard lagChecks < policy.lagCheckLimit else {
            return takeBack("the target never caught up: \(bytes) bytes behind")
        }
        return wait(policy.lagPoll, then: .measureLag(run: copies))
    }

    // MARK: The pause

    private mutating func fence() -> [MoveEffect] {
        step = .fencing
        attempt += 1
        lagChecks = 0
        let effects = [.journal] + perform(.fence(present, epochs))
        // The pause is timed on its own: it runs across several pieces of work. The turn is used up by it.
        pauseTurn = -attempt
        return effects + [.wait(policy.pauseLimit, turn: -attempt)]
    }

    mutating func pauseIsOver() -> [MoveEffect] {
        pauseTurn = nil
        guard step.isPause, step < .released else { return [] }
        if case .giveUp = doing { return [] }
        trouble = "the pause took longer than \(policy.pauseLimit)"
        return giveUp()
    }

    mutating func giveUp() -> [MoveEffect] {
        pauseTurn = nil
        return perform(.giveUp(present, epochs))
    }

    private mutating func gaveUp(_ epochs: [Epoch]) -> [MoveEffect] {
        self.epochs = epochs
        step = .catchingUp
        return [.journal] + perform(.publish(owner: spec.source, epochs))
    }

    /// The map knows the epochs of the source again.
    private mutating func givenUpIsKnown() -> [MoveEffect] {
        if undoing != nil { return [.journal] + perform(.undo) }
        if mustCopyAgain { return copyAgain(trouble ?? "the stream broke") }
        guard attempt < policy.attemptLimit else {
            return takeBack("\(attempt) attempts were given up; last: \(trouble ?? "-")")
        }
        return wait(backOff(attempt), then: .prepareTarget)
    }

    mutating func released() -> [MoveEffect] {
        pauseTurn = nil
        step = .released
        if undoing != nil {
            undoing = nil
            trouble = "too late to take it back: it was released"
        }
        return [.note] + perform(.activate(present, epochs))
    }

    // MARK: Afterwards

    private var nextSlice: Duration {
        min(policy.retentionSlice, max(policy.retention - retained, .zero))
    }

    /// No way back from here, which the journal knows before anything is removed.
    mutating func retire() -> [MoveEffect] {
        step = .retired
        return [.journal] + perform(hasReverse ? .stopReverse : .clean(epochs))
    }

    mutating func waitIsOver() -> [MoveEffect] {
        guard let work = doing else { return [] }
        if step == .reverseSync, case .measureReverse = work {
            retained += nextSlice
            if retained >= policy.retention { return retire() }
            return [.note] + perform(work)
        }
        return perform(work)
    }
}
