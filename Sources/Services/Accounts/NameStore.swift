internal import Contracts
internal import Database
internal import Jobs
internal import Postgres
internal import Sharding

/// Every statement on name claims and on the decisions behind them.
struct NameStore: Sendable {
    private let database: Database

    /// How long an attempt may take before anybody may give it up.
    private let grace: Duration

    init(database: Database, grace: Duration) {
        self.database = database
        self.grace = grace
    }

    /// Claims a name, together with the effect that settles the claim if nobody else does.
    ///
    /// `attempt` names attempts that repeat one another; those need not wait for the grace.
    func claim(
        _ name: ClaimedName,
        for holder: ClaimHolder,
        attempt: [UInt8]?
    ) async throws(DatabaseError) -> NameClaim.ClaimAnswer {
        let settle = Effect(
            AccountEffects.settle,
            owner: name,
            payload: ClaimPayload(name: name, holder: holder),
            delay: grace
        )
        let rows = try await database.write(
            on: name,
            [
                """
                WITH claim AS (
                    INSERT INTO accounts.name_claim
                        (bucket, kind, name, user_id, decision, held, attempt)
                    VALUES (\(name.bucket), \(name.kind.rawValue), \(name.text), \(holder.user),
                        \(holder.decision), false, \(attempt))
                    ON CONFLICT (bucket, kind, name) DO NOTHING
                    RETURNING bucket
                )
                \(fragment: settle.enqueue(whenAny: "claim"))
                """,
                // A statement of its own, so that it sees a row which a moment ago stood in the way.
                """
                SELECT user_id, decision, held,
                    claimed_at < now() - \(grace.inSeconds)::float8 * interval '1 second'
                        OR attempt IS NOT DISTINCT FROM \(attempt) AND attempt IS NOT NULL
                FROM accounts.name_claim
                WHERE bucket = \(name.bucket) AND kind = \(name.kind.rawValue)
                    AND name = \(name.text)
                """,
            ]
        )
        guard let found = try rows[1].decode(as: Claim.self).first else {
            // Released between our two statements: as good as a name in somebody's hands.
            return .held
        }
        if found.holder.decision == holder.decision { return .won }
        return found.held ? .held : .pending(found.holder, isStale: found.isStale)
    }

    /// Puts a void decision under the key unless one is there; answers whether the attempt has committed.
    func decide(_ decision: DecisionID) async throws(DatabaseError) -> Bool {
        let rows = try await database.write(
            on: decision,
            [
                """
                INSERT INTO accounts.decision (bucket, id, committed)
                VALUES (\(decision.bucket), \(decision), false)
                ON CONFLICT (bucket, id) DO NOTHING
                """,
                """
                SELECT committed FROM accounts.decision
                WHERE bucket = \(decision.bucket) AND id = \(decision)
                """,
            ]
        )
        return try rows[1].decode(as: Bool.self).first ?? false
    }

    /// The statement that commits an attempt; a decision that is there already makes its write fail.
    static func commit(_ decision: DecisionID) -> SQL {
        """
        INSERT INTO accounts.decision (bucket, id, committed)
        VALUES (\(decision.bucket), \(decision), true)
        """
    }

    /// The constraint that a write with ``commit(_:)`` violates when the attempt was given up.
    static let decisionKey = "decision_pkey"

    func hold(_ name: ClaimedName, _ decision: DecisionID) async throws(DatabaseError) {
        _ = try await database.write(
            on: name,
            [
                """
                UPDATE accounts.name_claim SET held = true
                WHERE bucket = \(name.bucket) AND kind = \(name.kind.rawValue)
                    AND name = \(name.text) AND decision = \(decision) AND NOT held
                """
            ]
        )
    }

    func release(_ name: ClaimedName, _ decision: DecisionID) async throws(DatabaseError) {
        _ = try await database.write(
            on: name,
            [
                """
                DELETE FROM accounts.name_claim
                WHERE bucket = \(name.bucket) AND kind = \(name.kind.rawValue)
                    AND name = \(name.text) AND decision = \(decision) AND NOT held
                """
            ]
        )
    }

    /// Frees a name that its user has left, unless the user has taken it again since.
    func leave(
        _ name: ClaimedName,
        user: UserID,
        before decision: DecisionID
    ) async throws(DatabaseError) {
        _ = try await database.write(
            on: name,
            [
                """
                DELETE FROM accounts.name_claim
                WHERE bucket = \(name.bucket) AND kind = \(name.kind.rawValue)
                    AND name = \(name.text) AND user_id = \(user) AND decision < \(decision)
                """
            ]
        )
    }

    /// Whose the names are, pending claims included; the account says whether a claim counts.
    func users(
        of names: [ClaimedName]
    ) async throws(DatabaseError) -> [ClaimedName: UserID] {
        let found: [NamedUser] = try await database.gather(names) { names in
            """
            SELECT c.kind, c.name, c.user_id
            FROM unnest(
                \(names.map(\.bucket.rawValue))::smallint[], \(names.map(\.kind.rawValue))::smallint[],
                \(names.map(\.text))::text[]
            ) AS asked (bucket, kind, name)
            JOIN accounts.name_claim AS c USING (bucket, kind, name)
            """
        }
        return Dictionary(found.map { ($0.name, $0.user) }) { first, _ in first }
    }
}

private struct Claim: RowDecodable {
    let holder: ClaimHolder
    let held: Bool
    let isStale: Bool

    init(row: inout Row) throws(DatabaseError) {
        holder = ClaimHolder(
            user: UserID(rawValue: try row.next()),
            decision: DecisionID(rawValue: try row.next())
        )
        held = try row.next()
        isStale = try row.next()
    }
}

private struct NamedUser: RowDecodable {
    let name: ClaimedName
    let user: UserID

    init(row: inout Row) throws(DatabaseError) {
        let kind = try row.next(Int16.self)
        guard let kind = ClaimedName.Kind(rawValue: kind) else {
            throw .decoding("accounts.name_claim.kind \(kind)")
        }
        name = ClaimedName(kind: kind, text: try row.next())
        user = UserID(rawValue: try row.next())
    }
}

extension Duration {
    var inSeconds: Double {
        let (seconds, attoseconds) = components
        return Double(seconds) + Double(attoseconds) * 1e-18
    }
}
