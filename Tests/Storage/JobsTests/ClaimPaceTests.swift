import Jobs
import Testing

struct ClaimPaceTests {
    @Test func `work is followed by another claim at once`() {
        var pace = ClaimPace()

        pace.apply(.claimed(3))

        #expect(pace.next() == .claim(limit: 64))
    }

    @Test func `emptiness makes the pauses longer, to a bound`() {
        var pace = ClaimPace()
        var pauses: [Duration] = []
        for _ in 0..<600 {
            pace.apply(.claimed(0))
            if case .pause(let time) = pace.next() { pauses.append(time) }
            #expect(pace.next() == .claim(limit: 64))
        }

        #expect(pauses.first == .milliseconds(2))
        #expect(pauses == pauses.sorted())
        #expect(pauses[100] == .milliseconds(20))
        #expect(pauses.last == .milliseconds(40))
    }

    @Test func `the end of an effect makes the next claim soon`() {
        var pace = ClaimPace()
        pace.apply(.claimed(1))
        for _ in 0..<50 { pace.apply(.claimed(0)) }

        pace.apply(.ended)
        pace.apply(.claimed(0))

        #expect(pace.next() == .pause(.milliseconds(2)))
    }

    @Test func `no more is claimed than there is room for`() {
        var limits = ClaimPace.Limits()
        limits.inFlight = 10
        var pace = ClaimPace(limits)

        pace.apply(.claimed(8))
        #expect(pace.next() == .claim(limit: 2))
        pace.apply(.claimed(2))

        #expect(pace.next() == .waitForRoom)
    }

    @Test func `a shard that is down is asked rarely, whatever else happens`() {
        var pace = ClaimPace()
        pace.apply(.claimed(1))
        pace.apply(.shardFailed)
        pace.apply(.ended)

        #expect(pace.next() == .pause(.milliseconds(500)))
        pace.apply(.claimed(0))
        #expect(pace.next() == .pause(.milliseconds(2)))
    }

    @Test func `a draining worker claims nothing`() {
        var pace = ClaimPace()
        pace.apply(.claimed(5))
        pace.apply(.draining)

        #expect(pace.next() == .stop)
    }
}
