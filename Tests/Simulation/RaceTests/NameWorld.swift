import Accounts
import Contracts
import Sharding
import Simulation

/// The tables behind names, and attempts that run the product's own state machines against them.
///
/// Every statement is one simulator step. A request may be lost, its answer may be lost, and it may arrive
/// long after its sender has given up; an attempt may die between any two steps.
final class NameWorld {
    struct Claim {
        var holder: ClaimHolder
        var held: Bool
        var madeAt: Int
    }

    struct Account {
        var names: Set<ClaimedName>
        var active = true
    }

    /// The ways in which the design could be wrong; each must be found by the simulator.
    enum Flaw: CaseIterable {
        case settlesWithoutVoid
        case commitIgnoresVoid
        case releaseIgnoresDecision
        case releasesUnknownCommit
        case claimWithoutSettlement
    }

    let simulator: Simulator
    let flaw: Flaw?
    let crash: Double
    let loss: Double
    /// Virtual milliseconds after which a claim counts as stale.
    let grace: Int
    private(set) var claims: [ClaimedName: Claim] = [:]
    private(set) var decisions: [DecisionID: Bool] = [:]
    private(set) var accounts: [UserID: Account] = [:]
    /// What attempts were told, for the checks.
    private(set) var outcomes: [UserID: NameClaim.Outcome] = [:]
    private(set) var releasedByRename: [(ClaimedName, UserID)] = []
    private var serial: Int64 = 0
    private var settlements: EffectQueue<(ClaimedName, ClaimHolder)>!
    private var confirmations: EffectQueue<[(ClaimedName, DecisionID)]>!
    private var departures: EffectQueue<(ClaimedName, UserID, DecisionID)>!

    init(_ simulator: Simulator, flaw: Flaw? = nil, crash: Double, loss: Double, grace: Int) {
        self.simulator = simulator
        self.flaw = flaw
        self.crash = crash
        self.loss = loss
        self.grace = grace
        // A settlement is due only when the grace is over, and then late by anything.
        let late = EffectFaults(delay: grace...(grace + 400))
        settlements = EffectQueue(simulator, faults: late) { [unowned self] in settlementPlan($0) }
        confirmations = EffectQueue(simulator, faults: .init()) { [unowned self] names in
            names.map { name, decision in { self.hold(name, decision) } }
        }
        departures = EffectQueue(simulator, faults: .init()) {
            [unowned self] name, user, decision in
            [{ self.leave(name, user, keeping: decision) }]
        }
    }

    func nextID() -> Int64 {
        serial += 1
        return serial << 16
    }

    // MARK: What people do

    func signUp(_ names: [ClaimedName]) {
        let user = UserID(rawValue: nextID())
        let holder = ClaimHolder(user: user, decision: DecisionID(rawValue: user.rawValue))
        run(NameClaim(names: names), holder) { [self] in
            guard flaw == .commitIgnoresVoid || decisions[holder.decision] == nil else {
                return .refused
            }
            decisions[holder.decision] = true
            accounts[user] = Account(names: Set(names))
            confirmations.enqueue(names.map { ($0, holder.decision) })
            return .committed
        }
    }

    func rename(_ user: UserID, to name: ClaimedName) {
        guard let before = accounts[user]?.names.first(where: { $0.kind == name.kind }),
            before != name
        else { return }
        let holder = ClaimHolder(user: user, decision: DecisionID(rawValue: nextID()))
        run(NameClaim(names: [name]), holder) { [self] in
            guard flaw == .commitIgnoresVoid || decisions[holder.decision] == nil else {
                return .refused
            }
            // The row is locked and compared: two renames of one user do not both leave the same name.
            guard let account = accounts[user], account.active, account.names.contains(before)
            else {
                return .failed
            }
            decisions[holder.decision] = true
            accounts[user]?.names.remove(before)
            accounts[user]?.names.insert(name)
            confirmations.enqueue([(name, holder.decision)])
            departures.enqueue((before, user, holder.decision))
            return .committed
        }
    }

    /// Leaves a tombstone, which keeps the username; the address becomes free.
    func leave(_ user: UserID) {
        guard let account = accounts[user], account.active,
            let address = account.names.first(where: { $0.kind == .email })
        else { return }
        accounts[user]?.active = false
        accounts[user]?.names.remove(address)
        departures.enqueue((address, user, DecisionID(rawValue: .max)))
    }

    // MARK: Running the machines

    private func run(
        _ claim: NameClaim,
        _ holder: ClaimHolder,
        commit: @escaping () -> NameClaim.CommitAnswer
    ) {
        var claim = claim
        func go(_ event: NameClaim.Event) {
            if simulator.chance(crash) { return }
            for effect in claim.apply(event) { perform(effect) }
        }
        func perform(_ effect: NameClaim.Effect) {
            switch effect {
            case .claim(let name):
                request({ [self] in self.claim(name, for: holder) }) {
                    go(.claimed($0 ?? .unanswered))
                }
            case .settle(let name, let other):
                settle(name, other) { go(.settled($0)) }
            case .commit:
                request(commit) { go(.committed($0 ?? .unanswered)) }
            case .decide:
                request({ [self] in self.decide(holder.decision) }) { go(.decided(committed: $0)) }
            case .release(let names):
                for name in names {
                    request({ [self] in self.release(name, holder.decision) }) { _ in }
                }
            case .finish(let outcome):
                outcomes[holder.user] = outcome
                if flaw == .releasesUnknownCommit, outcome == .unknown {
                    for name in claim.names { release(name, holder.decision) }
                }
            }
        }
        simulator.step { go(.started) }
    }

    /// Sends a statement to a shard: it arrives once or never, and its answer comes or not.
    private func request<T>(_ statement: @escaping () -> T, then: @escaping (T?) -> Void) {
        let lost = simulator.chance(loss)
        let unanswered = lost || simulator.chance(loss)
        if !lost {
            let late = unanswered && simulator.chance(0.5)
            simulator.step(within: late ? 0...(3 * grace) : 0...50) { [self] in
                let answer = statement()
                if !unanswered { simulator.step { then(answer) } }
            }
        }
        if unanswered { simulator.step(within: 50...200) { then(nil) } }
    }

    private func settle(
        _ name: ClaimedName,
        _ holder: ClaimHolder,
        done: @escaping (NameSettlement.Verdict?) -> Void
    ) {
        let steps = settlementPlan((name, holder))
        simulator.step { steps[0]() }
        simulator.step(within: 60...120) { [self] in
            steps[1]()
            done(decisions[holder.decision] == true ? .committed : .void)
        }
    }

    private func settlementPlan(_ effect: (ClaimedName, ClaimHolder)) -> [() -> Void] {
        var settlement = NameSettlement(of: effect.0, by: effect.1)
        var verdict = NameSettlement.Verdict.void
        return [
            { [self] in
                guard settlement.apply(.started) == [.decide(effect.1.decision)] else { return }
                let committed =
                    flaw == .settlesWithoutVoid
                    ? decisions[effect.1.decision] ?? false : decide(effect.1.decision)
                verdict = committed ? .committed : .void
            },
            { [self] in
                for next in settlement.apply(.decided(verdict)) {
                    switch next {
                    case .hold(let name, let decision): hold(name, decision)
                    case .release(let name, let decision): release(name, decision)
                    default: preconditionFailure("unexpected effect")
                    }
                }
                precondition(settlement.apply(.written) == [.finish(verdict)])
            },
        ]
    }

    // MARK: Statements

    private func claim(_ name: ClaimedName, for holder: ClaimHolder) -> NameClaim.ClaimAnswer {
        if let existing = claims[name] {
            if existing.holder.decision == holder.decision { return .won }
            if existing.held { return .held }
            return .pending(
                existing.holder,
                isStale: simulator.now - existing.madeAt > grace
            )
        }
        claims[name] = Claim(holder: holder, held: false, madeAt: simulator.now)
        if flaw != .claimWithoutSettlement { settlements.enqueue((name, holder)) }
        return .won
    }

    @discardableResult
    private func decide(_ decision: DecisionID) -> Bool {
        if let decided = decisions[decision] { return decided }
        decisions[decision] = false
        return false
    }

    private func hold(_ name: ClaimedName, _ decision: DecisionID) {
        if claims[name]?.holder.decision == decision { claims[name]?.held = true }
    }

    private func release(_ name: ClaimedName, _ decision: DecisionID) {
        guard let claim = claims[name], !claim.held else { return }
        if flaw == .releaseIgnoresDecision || claim.holder.decision == decision {
            claims[name] = nil
        }
    }

    /// What follows from a rename: the old name is free, unless it is the user's again.
    private func leave(_ name: ClaimedName, _ user: UserID, keeping decision: DecisionID) {
        guard let claim = claims[name], claim.holder.user == user,
            claim.holder.decision.rawValue < decision.rawValue
        else { return }
        claims[name] = nil
    }
}
