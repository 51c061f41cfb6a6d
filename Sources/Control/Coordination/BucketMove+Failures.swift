// What follows from work that came to nothing.

extension BucketMove {
    mutating func suffer(_ failure: MoveFailure, in work: MoveWork) -> [MoveEffect] {
        switch work {
        case .precheck:
            if failure.kind == .transient, tries < policy.tryLimit { return again(work) }
            return end(undone: failure.message)
        case .prepareTarget, .openStream, .copy, .attachStream, .measureLag, .verify,
            .prepareReverse:
            return sufferEarly(failure, in: work)
        case .fence:
            // It may be fenced all the same, now or later; giving up makes sure that it is not.
            return giveUp()
        case .awaitMarker, .compareTail, .advanceReverse:
            if failure.kind == .transient { return wait(policy.pauseRetry, then: work) }
            mustCopyAgain = true
            return giveUp()
        case .release:
            if failure.kind == .transient { return wait(policy.pauseRetry, then: work) }
            return giveUp()
        case .startReverse, .measureReverse: return sufferReverse(failure, in: work)
        case .giveUp, .activate, .settleSource:
            // A refusal here contradicts what was seen; look again rather than insist.
            return wait(
                backOff(tries),
                then: failure.kind == .transient ? work : .observe(run: copies)
            )
        case .observe, .publish, .detachStream, .stopReverse, .clean, .undo: return again(work)
        }
    }

    private mutating func again(_ work: MoveWork) -> [MoveEffect] {
        wait(backOff(tries), then: work)
    }

    private mutating func sufferEarly(
        _ failure: MoveFailure,
        in work: MoveWork
    ) -> [MoveEffect] {
        switch failure.kind {
        case .refused: return takeBack(failure.message)
        case .lost: return copyAgain(failure.message)
        case .transient:
            guard tries < policy.tryLimit else { return takeBack(failure.message) }
            switch work {
            // The snapshot may have gone with the connection that failed.
            case .openStream, .copy: return openStream(after: backOff(tries))
            default: break
            }
            return again(work)
        }
    }

    /// Without its reverse stream a move cannot be rolled back, but is none the worse otherwise.
    private mutating func sufferReverse(
        _ failure: MoveFailure,
        in work: MoveWork
    ) -> [MoveEffect] {
        if failure.kind == .transient, tries < policy.tryLimit { return again(work) }
        return retire()
    }
}
