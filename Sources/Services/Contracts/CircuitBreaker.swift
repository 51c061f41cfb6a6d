/// Whether another service is asked at all.
///
/// Closed, every call goes. It opens when several in a row have failed: calls are refused at once then, so that nobody
/// waits for what is known to be away. After a rest one call is let through; if it succeeds all go again, if not the
/// rest doubles. A value: time comes with each question, as milliseconds of a clock that only goes forward.
package struct CircuitBreaker: Sendable, Equatable {
    package struct Limits: Sendable, Equatable {
        /// So many failures in a row open it.
        package var failures = 5
        /// How long it stays open the first time, and at most.
        package var restMilliseconds: UInt64 = 500
        package var longestRestMilliseconds: UInt64 = 10_000
        /// A trial that nobody has told the end of for so long counts as failed.
        package var trialMilliseconds: UInt64 = 15_000

        package init() {}
    }

    package enum State: Sendable, Equatable {
        case closed(failures: Int)
        case open(until: UInt64, rest: UInt64)
        /// One call is under way that decides.
        case trying(until: UInt64, rest: UInt64)
    }

    /// Leave for one call, which is given back with its end.
    package struct Permit: Sendable, Equatable {
        fileprivate let era: UInt64
    }

    package private(set) var state = State.closed(failures: 0)
    private let limits: Limits
    /// Counts the changes of state: a call that began before the last one says nothing about now.
    private var era: UInt64 = 0

    package init(limits: Limits = Limits()) {
        self.limits = limits
    }

    package var isClosed: Bool {
        if case .closed = state { true } else { false }
    }

    /// Nil refuses the call.
    package mutating func permit(at now: UInt64) -> Permit? {
        switch state {
        case .closed: break
        case .open(let until, let rest):
            guard now >= until else { return nil }
            enter(.trying(until: now + limits.trialMilliseconds, rest: rest))
        case .trying(let until, let rest):
            guard now >= until else { return nil }
            enter(.trying(until: now + limits.trialMilliseconds, rest: rest))
        }
        return Permit(era: era)
    }

    package mutating func succeeded(_ permit: Permit) {
        guard permit.era == era else { return }
        switch state {
        case .closed: state = .closed(failures: 0)
        case .trying: enter(.closed(failures: 0))
        case .open: break
        }
    }

    package mutating func failed(_ permit: Permit, at now: UInt64) {
        guard permit.era == era else { return }
        switch state {
        case .closed(let failures) where failures + 1 < limits.failures:
            state = .closed(failures: failures + 1)
        case .closed:
            open(for: limits.restMilliseconds, at: now)
        case .trying(_, let rest):
            open(for: min(rest * 2, limits.longestRestMilliseconds), at: now)
        case .open: break
        }
    }

    /// The caller gave up for a reason of its own: nothing is known, and another call may try.
    package mutating func abandoned(_ permit: Permit, at now: UInt64) {
        guard permit.era == era, case .trying(_, let rest) = state else { return }
        enter(.open(until: now, rest: rest))
    }

    private mutating func open(for rest: UInt64, at now: UInt64) {
        enter(.open(until: now + rest, rest: rest))
    }

    private mutating func enter(_ next: State) {
        state = next
        era += 1
    }
}
