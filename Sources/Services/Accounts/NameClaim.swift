/// One attempt to take names for a user: a sign-up or a rename.
///
/// Each name is claimed `pending` on its own shard, in order; then the user's shard commits a decision, which
/// is the one point where the attempt counts. Every claim is written together with an effect that comes back
/// to it later (see ``NameSettlement``), so an attempt may die anywhere: whoever settles a claim first puts a
/// void decision under the same unique key, or finds that the attempt has committed.
package struct NameClaim: Sendable, Equatable {
    /// How a name's shard answered to a claim.
    package enum ClaimAnswer: Sendable, Equatable {
        case won
        /// Somebody's for good.
        case held
        /// Somebody's attempt, which may still be going on.
        case pending(ClaimHolder, isStale: Bool)
        /// Written or not: nobody knows.
        case unanswered
    }

    package enum CommitAnswer: Sendable, Equatable {
        case committed
        /// The decision was void already: the attempt took too long and has been given up for it.
        case refused
        /// The shard says that it did nothing.
        case failed
        case unanswered
    }

    package enum Event: Sendable, Equatable {
        case started
        case claimed(ClaimAnswer)
        /// A stale claim of another attempt was settled; nil if that did not succeed.
        case settled(NameSettlement.Verdict?)
        case committed(CommitAnswer)
        /// What stands under our decision's key now; nil if the shard does not answer.
        case decided(committed: Bool?)
    }

    package enum Effect: Sendable, Equatable {
        case claim(ClaimedName)
        case settle(ClaimedName, ClaimHolder)
        case commit
        /// Put a void decision under our key unless there is one, and read what stands there.
        case decide
        /// Give up our claims on these names; needs no answer, and may be lost.
        case release([ClaimedName])
        case finish(Outcome)
    }

    package enum Outcome: Sendable, Equatable {
        case committed
        case taken(ClaimedName)
        /// Nothing has happened; it may be tried again.
        case unavailable
        /// It may have happened; only a retry that knows the attempt can find out.
        case unknown
    }

    private enum State: Sendable, Equatable {
        case planned
        case claiming(Int, settled: Bool)
        case settling(Int)
        case committing
        case deciding
        case finished
    }

    package let names: [ClaimedName]
    private var state = State.planned

    package init(names: [ClaimedName]) {
        precondition(!names.isEmpty)
        self.names = names
    }

    package var isFinished: Bool { state == .finished }

    /// Takes one event and returns what must happen next; performs no work itself.
    package mutating func apply(_ event: Event) -> [Effect] {
        switch (state, event) {
        case (.planned, .started):
            return claim(0)
        case (.claiming(let index, _), .claimed(.won)):
            if index + 1 < names.count { return claim(index + 1) }
            state = .committing
            return [.commit]
        case (.claiming(let index, settled: false), .claimed(.pending(let holder, isStale: true))):
            state = .settling(index)
            return [.settle(names[index], holder)]
        case (.claiming(let index, _), .claimed(.held)),
            (.claiming(let index, _), .claimed(.pending)),
            (.settling(let index), .settled(.committed)):
            return giveUp(names.prefix(index), .taken(names[index]))
        case (.claiming(let index, _), .claimed(.unanswered)):
            // The claim may be there: it is given up with the others.
            return giveUp(names.prefix(index + 1), .unavailable)
        case (.settling(let index), .settled(.void)):
            state = .claiming(index, settled: true)
            return [.claim(names[index])]
        case (.settling(let index), .settled(nil)):
            return giveUp(names.prefix(index), .unavailable)
        case (.committing, .committed(.committed)), (.deciding, .decided(committed: true)):
            state = .finished
            return [.finish(.committed)]
        case (.committing, .committed(.refused)), (.committing, .committed(.failed)),
            (.deciding, .decided(committed: false)):
            return giveUp(names[...], .unavailable)
        case (.committing, .committed(.unanswered)):
            state = .deciding
            return [.decide]
        case (.deciding, .decided(committed: nil)):
            // The claims stay: if the commit has happened they are ours.
            state = .finished
            return [.finish(.unknown)]
        default:
            // Answers may repeat; one that no longer fits changes nothing.
            return []
        }
    }

    private mutating func claim(_ index: Int) -> [Effect] {
        state = .claiming(index, settled: false)
        return [.claim(names[index])]
    }

    private mutating func giveUp(_ claimed: ArraySlice<ClaimedName>, _ outcome: Outcome) -> [Effect]
    {
        state = .finished
        return claimed.isEmpty
            ? [.finish(outcome)] : [.release(Array(claimed)), .finish(outcome)]
    }
}

/// Finds out what became of a pending claim, and makes it held or free.
///
/// The void decision comes first: once it stands, the attempt can no longer commit, so that its names may be
/// given to others. Runs for each claim a while after it was made, any number of times, by anyone.
package struct NameSettlement: Sendable, Equatable {
    package enum Verdict: Sendable, Equatable {
        /// The attempt has committed: the name is its user's.
        case committed
        case void
    }

    package enum Event: Sendable, Equatable {
        case started
        case decided(Verdict)
        case written
    }

    package enum Effect: Sendable, Equatable {
        /// Put a void decision under the claim's key unless there is one, and read what stands there.
        case decide(DecisionID)
        /// Mark the claim held, if it is still this attempt's.
        case hold(ClaimedName, DecisionID)
        /// Delete the claim, if it is still this attempt's and pending.
        case release(ClaimedName, DecisionID)
        case finish(Verdict)
    }

    private enum State: Sendable, Equatable {
        case planned
        case deciding
        case writing(Verdict)
        case finished
    }

    package let name: ClaimedName
    package let holder: ClaimHolder
    private var state = State.planned

    package init(of name: ClaimedName, by holder: ClaimHolder) {
        self.name = name
        self.holder = holder
    }

    package mutating func apply(_ event: Event) -> [Effect] {
        switch (state, event) {
        case (.planned, .started):
            state = .deciding
            return [.decide(holder.decision)]
        case (.deciding, .decided(let verdict)):
            state = .writing(verdict)
            return switch verdict {
            case .committed: [.hold(name, holder.decision)]
            case .void: [.release(name, holder.decision)]
            }
        case (.writing(let verdict), .written):
            state = .finished
            return [.finish(verdict)]
        default:
            return []
        }
    }
}
