/// Who leads, as one candidate sees it: a lease in etcd, and a key that lives as long as the lease.
///
/// The lease only keeps two coordinators from working at the same time; it makes nothing safe by itself, since a
/// leader may sleep through its end. What is safe is that every journal entry is written in one transaction with a
/// comparison of the leader key, and that databases decide by their owner rows.
package struct Election: Sendable, Equatable {
    /// The revision at which a leader key was made: grows from leader to leader.
    package struct Term: Hashable, Comparable, Sendable, CustomStringConvertible {
        package let revision: Int64
        package init(revision: Int64) { self.revision = revision }
        package var description: String { String(revision) }
        package static func < (a: Term, b: Term) -> Bool { a.revision < b.revision }
    }

    package enum State: Hashable, Sendable {
        case idle
        /// Has a lease, or asks for one, to take the key with.
        case standingBy(lease: Int64?)
        case leading(lease: Int64, term: Term)
        /// Stopped by its owner; gives the lease back.
        case stopped
    }

    package enum Event: Hashable, Sendable {
        case start
        case leaseGranted(Int64)
        /// The key is ours since that revision.
        case taken(lease: Int64, Term)
        /// Somebody else has the key.
        case keyIsHeld
        /// The watch says that the key went at that revision.
        case keyIsFree(revision: Int64)
        case leaseRenewed(Int64)
        /// etcd says that there is no such lease.
        case leaseLost(Int64)
        /// etcd did not answer, or answered with an error.
        case unanswered
        /// A journal write was refused since the key is not ours.
        case refusedAsLeader
        case waited(turn: Int)
        case stop
    }

    package enum Effect: Hashable, Sendable {
        case grantLease(ttl: Duration)
        /// Put the leader key with the lease if it does not exist, and say by `taken` or `keyIsHeld`; `taken` too where
        /// it exists with this lease.
        case takeKey(lease: Int64)
        case renew(lease: Int64)
        case revoke(lease: Int64)
        case wait(Duration, turn: Int)
        /// Work may begin, under that term.
        case lead(Term)
        /// All work stops at once; what is under way is dropped, not finished.
        case stepDown
    }

    /// A leader that dies is succeeded after this.
    package static let leaseTime: Duration = .seconds(5)

    /// How often the lease is renewed, and the key is tried.
    package static let renewEvery: Duration = .milliseconds(1_250)

    /// Without a renewal for this long, by its own clock, a leader stops: before the lease can have ended.
    package static let trustLimit: Duration = .milliseconds(3_750)

    package private(set) var state: State = .idle
    private var turn = 0
    private var trustTurn = 0
    private var renewTurn = 0
    private var retryTurn = 0

    package init() {}

    package var term: Term? { if case .leading(_, let term) = state { term } else { nil } }

    package mutating func handle(_ event: Event) -> [Effect] {
        switch (state, event) {
        case (.stopped, _): return []
        case (_, .stop): return stop()
        case (.idle, .start):
            state = .standingBy(lease: nil)
            return askForLease()
        case (.standingBy(nil), .leaseGranted(let lease)):
            state = .standingBy(lease: lease)
            return [.takeKey(lease: lease)] + retryLater()
        case (.standingBy(let lease?), .taken(let with, let term)) where with == lease:
            state = .leading(lease: lease, term: term)
            return renewNow(lease) + [.lead(term)]
        case (.standingBy(let lease?), .keyIsFree): return [.takeKey(lease: lease)]
        case (.standingBy(let lease), .waited(let turn)) where turn == retryTurn:
            guard let lease else { return askForLease() }
            // Renewing keeps the lease for the day it is needed; an answer `leaseLost` gets a new one.
            return [.renew(lease: lease), .takeKey(lease: lease)] + retryLater()
        case (.standingBy(let lease?), .leaseLost(let lost)) where lost == lease:
            state = .standingBy(lease: nil)
            return askForLease()
        case (.leading(let lease, _), .leaseRenewed(let renewed)) where renewed == lease:
            return trustAgain()
        case (.leading(let lease, _), .waited(let turn)):
            if turn == trustTurn { return stepDown() }
            return turn == renewTurn ? renewLater(lease) : []
        case (.leading(let lease, _), .leaseLost(let lost)) where lost == lease:
            return stepDown()
        case (.leading(_, let term), .keyIsFree(let revision)) where revision > term.revision:
            return stepDown()
        case (.leading, .refusedAsLeader): return stepDown()
        default: return []
        }
    }

    private mutating func nextTurn() -> Int {
        turn += 1
        return turn
    }

    private mutating func askForLease() -> [Effect] {
        [.grantLease(ttl: Self.leaseTime)] + retryLater()
    }

    private mutating func retryLater() -> [Effect] {
        retryTurn = nextTurn()
        return [.wait(Self.renewEvery, turn: retryTurn)]
    }

    /// The time of trust runs from when a renewal was sent, so it is set before the answer is there.
    private mutating func renewNow(_ lease: Int64) -> [Effect] {
        trustTurn = nextTurn()
        return [.wait(Self.trustLimit, turn: trustTurn)] + renewLater(lease)
    }

    private mutating func renewLater(_ lease: Int64) -> [Effect] {
        renewTurn = nextTurn()
        return [.renew(lease: lease), .wait(Self.renewEvery, turn: renewTurn)]
    }

    private mutating func trustAgain() -> [Effect] {
        trustTurn = nextTurn()
        // The answer may be as old as one interval of renewal.
        return [.wait(Self.trustLimit - Self.renewEvery, turn: trustTurn)]
    }

    private mutating func stepDown() -> [Effect] {
        guard case .leading(let lease, _) = state else { return [] }
        state = .standingBy(lease: nil)
        return [.stepDown, .revoke(lease: lease)] + askForLease()
    }

    private mutating func stop() -> [Effect] {
        let old = state
        state = .stopped
        switch old {
        case .leading(let lease, _): return [.stepDown, .revoke(lease: lease)]
        case .standingBy(let lease?): return [.revoke(lease: lease)]
        default: return []
        }
    }
}
