internal import Contracts
internal import Crypto
internal import ServiceKit
internal import Sharding

/// Finds out who somebody is by name and password.
///
/// Whether the name or the password was wrong is not told, and takes as long either way.
struct LogIn: Sendable {
    enum Answer: Sendable {
        case welcome(Credential)
        case refused
        case wait(Duration)
    }

    let accounts: AccountStore
    let names: NameStore
    let security: AccountsSecurity
    let shared: SharedThrottle

    /// `name` is a username or an e-mail address.
    func run(name: String, password: String, address: String) async throws -> Answer {
        let now = Timestamp.now
        guard let claimed = Self.claimedName(name),
            password.utf8.count <= PasswordHash.passwordLimitBytes
        else { return .refused }
        if let wait = security.throttle.delay(account: claimed.text, address: address, at: now) {
            return .wait(wait)
        }
        switch await shared.begin(account: claimed.text, address: address) {
        case .wait(let wait): return .wait(wait)
        case .go(let places):
            do {
                guard let credential = try await judge(claimed, password) else {
                    security.throttle.failed(account: claimed.text, address: address, at: now)
                    return .refused
                }
                await shared.end(places)
                return .welcome(credential)
            } catch {
                // No password was judged.
                await shared.end(places)
                throw error
            }
        }
    }

    /// Whose name and password these are.
    private func judge(_ name: ClaimedName, _ password: String) async throws -> Credential? {
        let credential = try await credential(of: name)
        let hash = credential?.passwordHash ?? decoy
        guard try await security.verify(password, against: hash), let credential else { return nil }
        if security.passwords.isOutdated(hash) { try await rehash(credential, password) }
        return credential
    }

    private static func claimedName(_ text: String) -> ClaimedName? {
        let text = text.trimmed
        if text.contains("@"), !text.hasPrefix("@") {
            return EmailAddress(text).map { ClaimedName($0) }
        }
        // What cannot be a username is nobody's.
        return (try? Username(reading: text.hasPrefix("@") ? String(text.dropFirst()) : text))
            .map { ClaimedName($0) }
    }

    /// The credential behind a name, if the name is really that account's.
    private func credential(of name: ClaimedName) async throws -> Credential? {
        guard let user = try await names.users(of: [name])[name],
            let credential = try await accounts.credential(user)
        else { return nil }
        // A stored name that is none any more matches nobody.
        let theirs: ClaimedName? =
            switch name.kind {
            case .username: (try? Username(reading: credential.username)).map { ClaimedName($0) }
            case .email: EmailAddress(credential.email).map { ClaimedName($0) }
            }
        return theirs == name ? credential : nil
    }

    private func rehash(_ credential: Credential, _ password: String) async throws {
        let new = try await security.hash(password)
        try await accounts.rehash(credential.user, from: credential.passwordHash, to: new)
    }

    /// A hash of a password that nobody has, at the same cost: an unknown name costs as much as a known one.
    private var decoy: String { security.decoy }
}
