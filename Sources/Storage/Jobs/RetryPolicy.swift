/// Decides what becomes of an effect after an attempt.
///
/// A pure value: the runner acts on what it says, and the simulator runs it through every order of events.
package struct RetryPolicy: Sendable, Equatable {
    /// Failed attempts after which an effect becomes a dead letter.
    package var attemptLimit = 20

    package var firstDelay = Duration.milliseconds(100)
    package var longestDelay = Duration.seconds(60)

    /// A shard that is down is asked again soon; it says nothing about the effect.
    package var longestDelayWhileUnavailable = Duration.seconds(2)

    /// How long an effect waits that this worker is too old for.
    package var unknownDelay = Duration.seconds(5)

    package init() {}

    /// How an attempt ended.
    package enum Outcome: Sendable, Equatable {
        case succeeded
        /// The handler threw something that may pass.
        case failed(String)
        /// A shard did not answer, or a bucket was about to move.
        case unavailable(String)
        case postponed(Duration)
        case hopeless(String)
        /// No handler here knows this kind or version.
        case unknown
        /// The worker stops before it could begin.
        case returned
    }

    package enum Decision: Sendable, Equatable {
        case complete
        /// Due again after the delay; `countsAttempt` is false if the attempt was not the effect's fault.
        case retry(after: Duration, countsAttempt: Bool, reason: String?)
        case bury(reason: String)
    }

    /// `attempts` includes the one that ended; `chance` is uniform in 0..<1 and spreads the retries.
    package func decide(_ outcome: Outcome, attempts: Int, chance: Double) -> Decision {
        switch outcome {
        case .succeeded:
            return .complete
        case .hopeless(let reason):
            return .bury(reason: reason)
        case .failed(let reason) where attempts >= attemptLimit:
            return .bury(reason: "\(reason) (attempt \(attempts))")
        case .failed(let reason):
            let delay = backoff(attempts, upTo: longestDelay, chance)
            return .retry(after: delay, countsAttempt: true, reason: reason)
        case .unavailable(let reason):
            let delay = backoff(attempts + 2, upTo: longestDelayWhileUnavailable, chance)
            return .retry(after: delay, countsAttempt: false, reason: reason)
        case .postponed(let delay):
            return .retry(after: delay, countsAttempt: false, reason: nil)
        case .unknown:
            return .retry(
                after: unknownDelay * (0.5 + chance),
                countsAttempt: false,
                reason: "no handler of this worker knows the kind or its version"
            )
        case .returned:
            return .retry(after: .zero, countsAttempt: false, reason: nil)
        }
    }

    /// Doubles with each attempt up to the limit, then takes between half of it and all.
    private func backoff(_ attempts: Int, upTo limit: Duration, _ chance: Double) -> Duration {
        let doublings = min(max(attempts - 1, 0), 20)
        let full = min(firstDelay * (1 << doublings), limit)
        return full * (0.5 + chance / 2)
    }
}
