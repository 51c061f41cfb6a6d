/// Until when a call to another service must be over, all of its steps together.
///
/// A value: time comes with each question, as milliseconds of a clock that only goes forward.
package struct CallDeadline: Sendable, Equatable {
    /// In milliseconds of that clock.
    package let end: UInt64

    package init(_ limit: Duration, from now: UInt64) {
        end = now + UInt64(max(0, limit / .milliseconds(1)))
    }

    private init(end: UInt64) {
        self.end = end
    }

    /// What is left; nil when it is over.
    package func left(at now: UInt64) -> Duration? {
        now < end ? .milliseconds(end - now) : nil
    }

    /// The earlier of two: a step never outlives what it is a step of.
    package func within(_ outer: CallDeadline) -> CallDeadline {
        CallDeadline(end: min(end, outer.end))
    }
}
