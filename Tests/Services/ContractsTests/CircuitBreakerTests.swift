import Contracts
import Testing

@Suite struct `A circuit breaker` {
    private static var limits: CircuitBreaker.Limits {
        var limits = CircuitBreaker.Limits()
        limits.failures = 3
        limits.restMilliseconds = 100
        limits.longestRestMilliseconds = 350
        limits.trialMilliseconds = 1_000
        return limits
    }

    /// One that has just been opened by three failures at time 0.
    private static func opened() throws -> CircuitBreaker {
        var breaker = CircuitBreaker(limits: limits)
        for _ in 0..<3 { breaker.failed(try breaker.granted(at: 0), at: 0) }
        return breaker
    }

    @Test func `stays closed while now and then a call fails`() throws {
        var breaker = CircuitBreaker(limits: Self.limits)

        for now in UInt64(0)..<30 {
            let permit = try breaker.granted(at: now)
            if now % 3 == 0 { breaker.succeeded(permit) } else { breaker.failed(permit, at: now) }
        }

        #expect(breaker.isClosed)
    }

    @Test func `opens when so many in a row fail, and then refuses at once`() throws {
        var breaker = try Self.opened()

        #expect(!breaker.isClosed)
        breaker.expect([false, false], at: [0, 99])
    }

    @Test func `lets one call try after the rest, and all when that succeeds`() throws {
        var breaker = try Self.opened()

        let trial = try breaker.granted(at: 100)
        breaker.expect([false], at: [101])
        breaker.succeeded(trial)

        #expect(breaker.isClosed)
        breaker.expect([true, true], at: [102, 102])
    }

    @Test func `rests twice as long after each trial that fails, up to a bound`() throws {
        var breaker = try Self.opened()
        var now: UInt64 = 0

        for rest: UInt64 in [100, 200, 350, 350] {
            breaker.expect([false], at: [now + rest - 1])
            now += rest
            breaker.failed(try breaker.granted(at: now), at: now)
        }
    }

    @Test func `is not moved by calls that began before its state changed`() throws {
        var breaker = CircuitBreaker(limits: Self.limits)
        let slow = try breaker.granted(at: 0)
        for _ in 0..<3 { breaker.failed(try breaker.granted(at: 0), at: 0) }

        breaker.succeeded(slow)
        #expect(!breaker.isClosed)

        breaker.succeeded(try breaker.granted(at: 100))
        breaker.failed(slow, at: 100)
        #expect(breaker.state == .closed(failures: 0))
    }

    @Test func `takes a trial that nobody tells the end of for a failed one`() throws {
        var breaker = try Self.opened()
        _ = try breaker.granted(at: 100)

        breaker.expect([false], at: [1_099])
        breaker.expect([true], at: [1_100])
    }

    @Test func `lets another try when the caller of a trial went away`() throws {
        var breaker = try Self.opened()
        let trial = try breaker.granted(at: 100)

        breaker.abandoned(trial, at: 110)

        breaker.expect([true], at: [110])
    }

    @Test(arguments: 1...200 as ClosedRange<UInt64>)
    func `never lets more than one call try at a time, whatever happens`(seed: UInt64) {
        var random = SplitMix(state: seed)
        var breaker = CircuitBreaker(limits: Self.limits)
        var now: UInt64 = 0
        var open: [CircuitBreaker.Permit] = []
        for _ in 0..<300 {
            now += random.next() % 40
            let wasClosed = breaker.isClosed
            let before = breaker.state
            switch random.next() % 4 {
            case 0, 1:
                guard let permit = breaker.permit(at: now) else { continue }
                open.append(permit)
                if case .trying(let until, _) = before, !wasClosed {
                    #expect(now >= until, "a second trial before the first was given up")
                }
            case 2 where !open.isEmpty:
                breaker.succeeded(open.remove(at: Int(random.next() % UInt64(open.count))))
            case 3 where !open.isEmpty:
                breaker.failed(open.remove(at: Int(random.next() % UInt64(open.count))), at: now)
            default: continue
            }
        }
        // However it stands, it lets a call through again within its longest rest or trial.
        breaker.expect([true], at: [now + 1_000])
    }
}

extension CircuitBreaker {
    fileprivate mutating func granted(at now: UInt64) throws -> Permit {
        let permit = permit(at: now)
        return try #require(permit)
    }

    /// Whether calls at these times are let through.
    fileprivate mutating func expect(
        _ answers: [Bool],
        at times: [UInt64],
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        var found: [Bool] = []
        for now in times { found.append(permit(at: now) != nil) }
        #expect(found == answers, sourceLocation: sourceLocation)
    }
}

/// Numbers that are the same for the same seed.
private struct SplitMix {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

@Suite struct `A call's deadline` {
    @Test func `counts all steps of a call together`() {
        let deadline = CallDeadline(.milliseconds(250), from: 1_000)

        #expect(deadline.left(at: 1_000) == .milliseconds(250))
        #expect(deadline.left(at: 1_249) == .milliseconds(1))
        #expect(deadline.left(at: 1_250) == nil)
    }

    @Test func `is over at once where there is no time`() {
        #expect(CallDeadline(.zero, from: 5).left(at: 5) == nil)
        #expect(CallDeadline(.milliseconds(-1), from: 5).left(at: 5) == nil)
    }

    @Test func `never outlives what it is a step of`() {
        let outer = CallDeadline(.milliseconds(100), from: 0)

        #expect(CallDeadline(.seconds(9), from: 50).within(outer) == outer)
        #expect(CallDeadline(.milliseconds(10), from: 50).within(outer).end == 60)
    }
}
