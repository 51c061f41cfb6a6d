internal import Contracts
internal import Database
internal import Jobs
internal import JSON
internal import Postgres
internal import Sharding

/// What a name's or a user's shard still owes to the other one.
enum AccountEffects {
    /// A claim was made a while ago: find out what became of it.
    static let settle = "accounts.settle"
    /// An attempt has committed: its claims are held.
    static let confirm = "accounts.confirm"
    /// A user has left a name: it is free.
    static let leave = "accounts.leave"

    /// How long after an account was deleted its traces are looked for again.
    ///
    /// A request that its token began may still write after the first look; it has ended by then, and the
    /// token is refused everywhere.
    private static let secondLook = Duration.seconds(60)

    /// What the other services do about a deleted account: at once, and again when nobody can act for it any more.
    static func departure(of user: UserID) -> [Effect] {
        let kinds = [
            EffectKinds.postsAuthorGone, EffectKinds.graphUserGone, EffectKinds.mediaOwnerGone,
        ]
        return [.zero, secondLook].flatMap { delay in
            kinds.map { kind in
                Effect(kind, owner: user, payload: UserEffect(user: user), delay: delay)
            }
        }
    }
}

/// Runs ``NameSettlement`` on a claim whose time is up.
struct SettleClaim: EffectHandler {
    let kind = AccountEffects.settle
    let names: NameStore

    func target(of effect: ClaimedEffect) -> BucketID? {
        // What cannot be read has no target; `handle` buries it.
        (try? effect.decode(ClaimPayload.init))?.holder.decision.bucket
    }

    func handle(_ effect: ClaimedEffect) async throws {
        let claim = try effect.decode(ClaimPayload.init)
        _ = try await names.settle(claim.name, claim.holder)
    }
}

struct ConfirmClaims: EffectHandler {
    let kind = AccountEffects.confirm
    let names: NameStore

    func handle(_ effect: ClaimedEffect) async throws {
        let claims = try effect.decode(ConfirmPayload.init)
        for name in claims.names { try await names.hold(name, claims.decision) }
    }
}

struct LeaveName: EffectHandler {
    let kind = AccountEffects.leave
    let names: NameStore

    func handle(_ effect: ClaimedEffect) async throws {
        let left = try effect.decode(ClaimPayload.init)
        try await names.leave(left.name, user: left.holder.user, before: left.holder.decision)
    }
}

extension NameStore {
    /// Drives one ``NameSettlement`` to its end.
    func settle(
        _ name: ClaimedName,
        _ holder: ClaimHolder
    ) async throws(DatabaseError) -> NameSettlement.Verdict {
        var settlement = NameSettlement(of: name, by: holder)
        var due = settlement.apply(.started)
        while !due.isEmpty {
            switch due.removeFirst() {
            case .decide(let decision):
                let committed = try await decide(decision)
                due += settlement.apply(.decided(committed ? .committed : .void))
            case .hold(let name, let decision):
                try await hold(name, decision)
                due += settlement.apply(.written)
            case .release(let name, let decision):
                try await release(name, decision)
                due += settlement.apply(.written)
            case .finish(let verdict):
                return verdict
            }
        }
        preconditionFailure("a settlement ends with a verdict")
    }
}

/// A claim, as its effect carries it.
struct ClaimPayload: Sendable, Equatable, JSONEncodable {
    var name: ClaimedName
    var holder: ClaimHolder

    init(name: ClaimedName, holder: ClaimHolder) {
        self.name = name
        self.holder = holder
    }

    init?(_ json: JSONValue) {
        guard let name = ClaimedName(json),
            let user = json["user"]?.string.flatMap({ UserID($0) }),
            let decision = json["decision"]?.string.flatMap({ DecisionID($0) })
        else { return nil }
        self.init(name: name, holder: ClaimHolder(user: user, decision: decision))
    }

    func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("kind", name.kind.rawValue)
            json.field("name", name.text)
            json.field("user", holder.user.description)
            json.field("decision", holder.decision.description)
        }
    }
}

struct ConfirmPayload: Sendable, Equatable, JSONEncodable {
    var names: [ClaimedName]
    var decision: DecisionID

    init(names: [ClaimedName], decision: DecisionID) {
        self.names = names
        self.decision = decision
    }

    init?(_ json: JSONValue) {
        guard let decision = json["decision"]?.string.flatMap({ DecisionID($0) }),
            let elements = json["names"]?.array
        else { return nil }
        let names = elements.compactMap { ClaimedName($0) }
        guard names.count == elements.count else { return nil }
        self.init(names: names, decision: decision)
    }

    func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("decision", decision.description)
            json.key("names")
            json.array { json in
                for name in names {
                    json.object { json in
                        json.field("kind", name.kind.rawValue)
                        json.field("name", name.text)
                    }
                }
            }
        }
    }
}

extension ClaimedName {
    fileprivate init?(_ json: JSONValue) {
        guard let kind = json["kind"]?.int.flatMap({ Kind(rawValue: Int16($0)) }),
            let text = json["name"]?.string
        else { return nil }
        self.init(kind: kind, text: text)
    }
}
