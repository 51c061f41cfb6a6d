internal import Contracts
internal import Crypto
internal import Database
internal import Postgres
internal import ServiceKit
internal import Sharding
internal import HTTP

/// Makes an account: claims its names, commits it on its own shard, and opens its first session.
///
/// Decides nothing itself but who is asked next; ``NameClaim`` does. A sign-up that is repeated with the same
/// idempotency key goes to the same shard, finds what the first one committed, and answers the same.
struct SignUp: Sendable {
    struct Form: Sendable {
        var username: Username
        var email: EmailAddress
        var password: String
        var language: String?
        var role = Account.Role.everyone
    }

    /// The idempotency key as this service keeps it.
    struct Repetition: Sendable {
        /// Of the key and whoever sent it.
        var keyHash: [UInt8]
        /// Of what was asked for, keyed: whoever reads the table must not be able to try passwords on it.
        var bodyHash: [UInt8]

        init(key: String, actor: String, form: Form, secret: [UInt8]) {
            keyHash = Digest.sha256("sign-up\n\(actor)\n\(key)")
            bodyHash = Digest.hmac(
                "\(form.username.text)\n\(form.email.text)\n\(form.password)".utf8,
                key: secret
            )
        }
    }

    let database: Database
    let accounts: AccountStore
    let names: NameStore
    let sessions: SessionStore
    let security: AccountsSecurity
    let settings: AccountsSettings

    /// Answers the session to make a token of.
    func run(
        _ form: Form,
        by client: Application,
        scopes: Scopes,
        address: String,
        repetition: Repetition?
    ) async throws -> Session {
        let key = repetition?.keyHash ?? SecureRandom.bytes(16)
        guard let bucket = database.bucket(forNewUser: key) else {
            throw ServiceError.unavailable("There is no room for new accounts.", retryAfter: 60)
        }
        if let repetition, let done = try await session(of: repetition, in: bucket) { return done }
        let hash = try await security.hash(form.password)
        let ids = try await accounts.nextIDs(2, in: bucket)
        let user = UserID(rawValue: ids[0])
        let session = Session(
            id: SessionID(rawValue: ids[1]),
            user: user,
            client: client,
            scopes: scopes,
            createdAt: .now,
            lifetime: settings.tokenLifetime,
            address: address
        )
        let account = NewAccount(
            id: user,
            username: form.username,
            email: form.email,
            passwordHash: hash,
            role: form.role,
            language: form.language
        )
        switch try await claim(for: account, opening: session, repetition) {
        case .committed:
            return session
        case .taken(let name):
            // Perhaps by this very sign-up, sent before.
            if let repetition, let done = try await self.session(of: repetition, in: bucket) {
                return done
            }
            throw Self.taken(name)
        case .unavailable:
            throw ServiceError.unavailable("The account could not be made. Try again.")
        case .unknown:
            throw ServiceError(
                .outcomeUnknown,
                "The account may have been made. Repeat the request with its Idempotency-Key.",
                headers: ["Retry-After": "1"]
            )
        }
    }

    static func taken(_ name: ClaimedName) -> ServiceError {
        let (field, words) =
            name.kind == .username ? ("username", "Username") : ("email", "E-mail address")
        return ServiceError(
            .unprocessable,
            "Validation failed: \(words) has already been taken",
            details: [.init(field: field, code: "ERR_TAKEN", message: "has already been taken")]
        )
    }

    // MARK: Driving the claim

    private func claim(
        for account: NewAccount,
        opening session: Session,
        _ repetition: Repetition?
    ) async throws(DatabaseError) -> NameClaim.Outcome {
        let holder = ClaimHolder(
            user: account.id,
            decision: DecisionID(rawValue: account.id.rawValue)
        )
        let driver = NameClaimDriver(names: names, holder: holder, attempt: repetition?.keyHash)
        return await driver.run(
            NameClaim(names: [ClaimedName(account.username), ClaimedName(account.email)])
        ) { () throws(DatabaseError) in
            var alongside = [sessions.opening(of: session)]
            if let repetition {
                alongside.append(accounts.remember(repetition, account.id, session.id))
            }
            try await accounts.create(account, decision: holder.decision, alongside: alongside)
            return true
        }
    }

    // MARK: Repetition

    private func session(
        of repetition: Repetition,
        in bucket: BucketID
    ) async throws -> Session? {
        guard let done = try await accounts.remembered(repetition, in: bucket) else { return nil }
        guard done.bodyHash == repetition.bodyHash else {
            throw ServiceError(
                .unprocessable,
                "This Idempotency-Key was used for another request."
            )
        }
        return try await sessions.session(done.session)
    }
}

/// Runs one ``NameClaim`` to its end against the shards.
struct NameClaimDriver: Sendable {
    let names: NameStore
    let holder: ClaimHolder
    /// Names attempts that repeat one another.
    var attempt: [UInt8]?

    /// `commit` writes the decision with what depends on it; false where it found nothing to change.
    func run(
        _ claim: NameClaim,
        commit: () async throws(DatabaseError) -> Bool
    ) async -> NameClaim.Outcome {
        var claim = claim
        var due = claim.apply(.started)
        while !due.isEmpty {
            switch due.removeFirst() {
            case .claim(let name):
                due += claim.apply(.claimed(await self.claim(name)))
            case .settle(let name, let other):
                // Without an answer nothing is known, and the attempt ends.
                due += claim.apply(.settled(try? await names.settle(name, other)))
            case .commit:
                due += claim.apply(.committed(await answer(to: commit)))
            case .decide:
                // The same: an unanswered question leaves the outcome unknown.
                due += claim.apply(.decided(committed: try? await names.decide(holder.decision)))
            case .release(let names):
                for name in names {
                    // A lost release is made up for by the claim's own effect.
                    try? await self.names.release(name, holder.decision)
                }
            case .finish(let outcome):
                return outcome
            }
        }
        preconditionFailure("a claim ends with an outcome")
    }

    private func claim(_ name: ClaimedName) async -> NameClaim.ClaimAnswer {
        do {
            return try await names.claim(name, for: holder, attempt: attempt)
        } catch {
            return .unanswered
        }
    }

    private func answer(
        to commit: () async throws(DatabaseError) -> Bool
    ) async -> NameClaim.CommitAnswer {
        do throws(DatabaseError) {
            return try await commit() ? .committed : .failed
        } catch {
            switch error {
            case .uniqueViolation(NameStore.decisionKey): return .refused
            case .outcomeUnknown, .timeout, .unavailable, .cancelled: return .unanswered
            default: return .failed
            }
        }
    }
}
