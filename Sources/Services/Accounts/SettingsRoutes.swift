internal import Contracts
internal import Crypto
internal import HTTP
internal import JSON
internal import Postgres
internal import ServiceKit
internal import Sharding

/// What only the owner of an account sees or does: sessions, password, name, leaving.
struct SettingsRoutes: Sendable {
    let parts: AccountsParts

    var endpoints: [Endpoint] {
        [
            Endpoint(
                .get,
                "/api/tessera/v1/sessions",
                operationID: "getSessions",
                summary: "Where one is logged in.",
                tag: "sessions",
                access: .user(["read:accounts"]),
                output: .list("Session"),
                handler: list
            ),
            Endpoint(
                .delete,
                "/api/tessera/v1/sessions/:id",
                operationID: "revokeSession",
                summary: "Log out somewhere.",
                tag: "sessions",
                access: .user(["write:accounts"]),
                output: .emptyObject,
                handler: revoke
            ),
            Endpoint(
                .post,
                "/api/tessera/v1/account/password",
                operationID: "changePassword",
                summary: "Take a new password and log out everywhere else.",
                tag: "accounts",
                access: .user(["write:accounts"]),
                inputs: [
                    Parameter("current_password", .string, required: true, "The password so far."),
                    Parameter("password", .string, required: true, "The new one."),
                ],
                output: .emptyObject,
                handler: changePassword
            ),
            Endpoint(
                .post,
                "/api/tessera/v1/account/username",
                operationID: "changeUsername",
                summary: "Take another username; the old one becomes free.",
                tag: "accounts",
                access: .user(["write:accounts"]),
                inputs: [
                    Parameter("username", .string, required: true, "The new name."),
                    Parameter("current_password", .string, required: true, "The password."),
                ],
                output: .entity("CredentialAccount"),
                handler: rename
            ),
            Endpoint(
                .delete,
                "/api/tessera/v1/account",
                operationID: "deleteAccount",
                summary: "Delete one's own account for good.",
                tag: "accounts",
                access: .user(["write:accounts"]),
                inputs: [Parameter("current_password", .string, required: true, "The password.")],
                output: .emptyObject,
                handler: delete
            ),
        ]
    }

    // MARK: Sessions

    @Sendable private func list(_ call: Call) async throws -> Response {
        let sessions = try await parts.sessionStore.sessions(of: call.user())
        let current = call.authentication?.session
        return .json { json in
            json.array { json in
                for session in sessions {
                    Self.write(session, isCurrent: session.id == current, to: &json)
                }
            }
        }
    }

    private static func write(_ session: Session, isCurrent: Bool, to json: inout JSONWriter) {
        json.object { json in
            json.field("id", session.id.description)
            json.field("current", isCurrent)
            json.key("application")
            json.object { json in
                json.field("name", session.clientName)
                json.field("website", session.clientWebsite)
            }
            json.field("scopes", session.scopes.names)
            json.field("created_at", session.createdAt.iso8601)
            json.field("expires_at", session.expiresAt.iso8601)
            json.field("ip", session.address)
        }
    }

    @Sendable private func revoke(_ call: Call) async throws -> Response {
        let id = try call.id(as: SessionID.self)
        guard try await parts.sessionStore.revoke(id, of: call.user()) else {
            throw ServiceError.notFound
        }
        await parts.sessions.forget([id])
        return .emptyObject
    }

    // MARK: Password

    /// The caller's credential, once they have shown that they know the password.
    private func confirmed(_ call: Call) async throws -> Credential {
        let user = try call.user()
        guard let credential = try await parts.accounts.credential(user) else {
            throw ServiceError.unauthorized
        }
        let outcome = try await parts.logIn.run(
            name: credential.username,
            password: call.input.string("current_password") ?? "",
            address: call.request.remoteAddress
        )
        switch outcome {
        case .welcome(let known) where known.user == user: return known
        case .wait(let delay):
            throw ServiceError(
                .rateLimited,
                "Too many attempts. Try again later.",
                headers: ["Retry-After": String(max(1, delay.components.seconds))]
            )
        default: throw ServiceError(.forbidden, "The password is not right.")
        }
    }

    @Sendable private func changePassword(_ call: Call) async throws -> Response {
        let new = call.input.string("password") ?? ""
        if let detail = SignUpRoutes.complaint(aboutPassword: new) {
            throw SignUpRoutes.invalid([detail])
        }
        let credential = try await confirmed(call)
        let hash = try await parts.security.hash(new)
        let others = try await parts.sessionStore.sessions(of: credential.user).map(\.id)
            .filter { $0 != call.authentication?.session }
        try await parts.accounts.setPassword(
            hash,
            of: credential.user,
            alongside: [
                parts.sessionStore.endingAll(
                    of: credential.user,
                    except: call.authentication?.session
                )
            ]
        )
        await parts.sessions.forget(others)
        return .emptyObject
    }

    // MARK: Name

    @Sendable private func rename(_ call: Call) async throws -> Response {
        var details: [ServiceError.Detail] = []
        guard let new = SignUpRoutes.checked(call.input.string("username"), &details) else {
            throw SignUpRoutes.invalid(details)
        }
        let credential = try await confirmed(call)
        let old: Username
        do {
            old = try Username(reading: credential.username)
        } catch {
            throw ServiceError(.internal, "The account has no name.", cause: error)
        }
        guard old.folded != new.folded else {
            throw ServiceError.invalid("Username is the present one")
        }
        try await parts.rename(credential.user, from: old, to: new)
        await parts.directory.forget(credential.user)
        return .json(try await parts.credentials(of: credential.user))
    }

    // MARK: Leaving

    @Sendable private func delete(_ call: Call) async throws -> Response {
        let credential = try await confirmed(call)
        let sessions = try await parts.sessionStore.sessions(of: credential.user).map(\.id)
        try await parts.accounts.delete(
            credential,
            alongside: [parts.sessionStore.endingAll(of: credential.user, except: nil)]
        )
        await parts.sessions.forget(sessions)
        await parts.directory.forget(credential.user)
        return .emptyObject
    }
}

extension AccountsParts {
    /// Takes a name for a user and leaves the old one; ``NameClaim`` decides, as for a sign-up.
    func rename(_ user: UserID, from old: Username, to new: Username) async throws {
        let ids = try await accounts.nextIDs(1, in: user.bucket)
        let decision = DecisionID(rawValue: ids[0])
        let driver = NameClaimDriver(
            names: names,
            holder: ClaimHolder(user: user, decision: decision)
        )
        let accounts = accounts
        let outcome = await driver.run(NameClaim(names: [ClaimedName(new)])) {
            () throws(DatabaseError) in
            try await accounts.rename(user, from: old, to: new, decision: decision)
        }
        switch outcome {
        case .committed: return
        case .taken(let name): throw SignUp.taken(name)
        case .unavailable:
            throw ServiceError.unavailable("The name could not be changed. Try again.")
        case .unknown:
            throw ServiceError(
                .outcomeUnknown,
                "The name may have been changed.",
                headers: ["Retry-After": "1"]
            )
        }
    }
}
