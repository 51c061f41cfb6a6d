import Jobs
import Testing

struct RetryPolicyTests {
    private let policy = RetryPolicy()

    @Test func `a success completes the effect`() {
        #expect(policy.decide(.succeeded, attempts: 7, chance: 0.5) == .complete)
    }

    @Test func `failures back off, doubling, up to a limit`() {
        let delays = (1...19).map { attempts -> Duration in
            guard
                case .retry(let delay, true, "x") = policy.decide(
                    .failed("x"),
                    attempts: attempts,
                    chance: 1
                )
            else { return .zero }
            return delay
        }

        #expect(delays[0] == .milliseconds(100))
        #expect(delays[3] == .milliseconds(800))
        #expect(delays.last == policy.longestDelay)
        #expect(delays == delays.sorted())
    }

    @Test func `chance spreads retries over half of their delay`() {
        func delay(_ chance: Double) -> Duration? {
            guard
                case .retry(let delay, _, _) = policy.decide(
                    .failed("x"),
                    attempts: 4,
                    chance: chance
                )
            else { return nil }
            return delay
        }

        #expect(delay(0) == .milliseconds(400))
        #expect(delay(1) == .milliseconds(800))
    }

    @Test func `the last failed attempt buries the effect with its reason`() {
        let decision = policy.decide(.failed("boom"), attempts: policy.attemptLimit, chance: 0)

        #expect(decision == .bury(reason: "boom (attempt 20)"))
    }

    @Test func `a shard that is down never buries an effect`() {
        let decision = policy.decide(.unavailable("s2"), attempts: 10_000, chance: 1)

        #expect(
            decision
                == .retry(
                    after: policy.longestDelayWhileUnavailable,
                    countsAttempt: false,
                    reason: "s2"
                )
        )
    }

    @Test func `an unknown kind is put back for a newer worker`() {
        guard case .retry(_, false, _?) = policy.decide(.unknown, attempts: 99, chance: 0) else {
            Issue.record("an unknown kind must not be dropped")
            return
        }
    }

    @Test func `what can never work is buried at once`() {
        let decision = policy.decide(.hopeless("bad payload"), attempts: 1, chance: 0)

        #expect(decision == .bury(reason: "bad payload"))
    }
}
