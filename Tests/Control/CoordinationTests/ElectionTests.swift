import Coordination
import Testing

struct ElectionTests {
    private typealias Term = Election.Term

    private func leader(lease: Int64 = 7, since revision: Int64 = 9) -> Election {
        var election = Election()
        _ = election.handle(.start)
        _ = election.handle(.leaseGranted(lease))
        _ = election.handle(.taken(lease: lease, Term(revision: revision)))
        return election
    }

    private func waits(_ effects: [Election.Effect]) -> [(time: Duration, turn: Int)] {
        effects.compactMap { if case .wait(let time, let turn) = $0 { (time, turn) } else { nil } }
    }

    @Test func `a candidate asks for a lease, then for the key, then leads`() {
        var election = Election()

        #expect(election.handle(.start).contains(.grantLease(ttl: Election.leaseTime)))
        #expect(election.handle(.leaseGranted(7)).contains(.takeKey(lease: 7)))
        let effects = election.handle(.taken(lease: 7, Term(revision: 9)))

        #expect(effects.contains(.lead(Term(revision: 9))))
        #expect(effects.contains(.renew(lease: 7)))
        #expect(election.term == Term(revision: 9))
    }

    @Test func `a stand-by tries again, and at once when the key is free`() {
        var election = Election()
        _ = election.handle(.start)
        let turn = waits(election.handle(.leaseGranted(7)))[0].turn
        _ = election.handle(.keyIsHeld)

        #expect(election.handle(.waited(turn: turn)).contains(.takeKey(lease: 7)))
        #expect(election.handle(.keyIsFree(revision: 12)) == [.takeKey(lease: 7)])
    }

    @Test func `a leader whose renewals are not answered stops before its lease can end`() {
        var election = Election()
        _ = election.handle(.start)
        _ = election.handle(.leaseGranted(7))
        let effects = election.handle(.taken(lease: 7, Term(revision: 9)))
        let trust = waits(effects).max { $0.time < $1.time }!

        #expect(trust.time < Election.leaseTime)
        #expect(election.handle(.waited(turn: trust.turn)).first == .stepDown)
        #expect(election.term == nil)
    }

    @Test func `a renewal that is answered puts the end off`() {
        var election = Election()
        _ = election.handle(.start)
        _ = election.handle(.leaseGranted(7))
        let effects = election.handle(.taken(lease: 7, Term(revision: 9)))
        let trust = waits(effects).max { $0.time < $1.time }!
        let renewed = election.handle(.leaseRenewed(7))

        #expect(election.handle(.waited(turn: trust.turn)).isEmpty)
        let later = waits(renewed)[0]
        #expect(later.time + Election.renewEvery <= Election.trustLimit)
        #expect(election.handle(.waited(turn: later.turn)).first == .stepDown)
    }

    @Test(arguments: [
        Election.Event.leaseLost(7), .refusedAsLeader, .keyIsFree(revision: 10),
    ])
    func `a leader that is told so steps down and stands by`(event: Election.Event) {
        var election = leader()

        let effects = election.handle(event)

        #expect(effects.first == .stepDown)
        #expect(election.state == .standingBy(lease: nil))
    }

    @Test(arguments: [
        Election.Event.leaseLost(6), .keyIsFree(revision: 8), .leaseRenewed(6), .keyIsHeld,
        .taken(lease: 6, Election.Term(revision: 3)),
    ])
    func `news of an earlier lease change nothing`(event: Election.Event) {
        var election = leader()

        #expect(election.handle(event).isEmpty)
        #expect(election.term == Term(revision: 9))
    }

    @Test func `a coordinator that stops gives its lease back`() {
        var election = leader()

        #expect(election.handle(.stop) == [.stepDown, .revoke(lease: 7)])
        #expect(election.handle(.keyIsFree(revision: 20)).isEmpty)
    }
}
