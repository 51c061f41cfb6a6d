package import Crypto
internal import EventLoops

/// What an operator decides about accounts.
package struct AccountsSettings: Sendable {
    /// Whether strangers may sign up.
    package var openSignUp = true

    /// How long a token is good for without a new log-in.
    package var tokenLifetime = Duration.seconds(365 * 86_400)

    /// How long a browser stays logged in to our own pages.
    package var browserLifetime = Duration.seconds(30 * 86_400)

    /// How long an authorisation code may wait; RFC 6749 advises ten minutes at most.
    package var codeLifetime = Duration.seconds(600)

    /// How long a sign-up may take before its names may be given to others.
    package var claimGrace = Duration.seconds(60)

    package var instanceName = "Tessera"

    package init() {}
}

/// What the loops of one process share: keys, the threads that hash passwords, and who failed to log in.
package final class AccountsSecurity: Sendable {
    /// Hashes that wait for a thread; beyond it log-ins are told to come back.
    package static let queueLimit = 256

    package let keys: KeyRing
    package let passwords: PasswordHash
    package let throttle: LoginThrottle
    let offload: Offload
    /// The hash of a password that nobody knows.
    let decoy: String

    package init(
        keys: KeyRing,
        passwords: PasswordHash = PasswordHash(),
        throttle: LoginThrottle = LoginThrottle(),
        threads: Int = 2
    ) {
        self.keys = keys
        self.passwords = passwords
        self.throttle = throttle
        do {
            decoy = try passwords.hash(SecureRandom.text(32))
        } catch {
            preconditionFailure("not even one password can be hashed: \(error)")
        }
        offload = Offload(threads: threads, queueLimit: Self.queueLimit, name: "passwords")
    }

    /// A key for one purpose of this service.
    func secret(for purpose: String) -> [UInt8] { keys.derived(for: purpose).signing.secret }

    func hash(_ password: String) async throws -> String {
        let passwords = passwords
        return try await offload.run { try passwords.hash(password) }
    }

    func verify(_ password: String, against hash: String) async throws -> Bool {
        let passwords = passwords
        return try await offload.run { passwords.verify(password, against: hash) }
    }
}
