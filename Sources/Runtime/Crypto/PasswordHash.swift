import CSodium
import Glibc

/// How passwords are hashed: Argon2id by libsodium.
///
/// Hashing takes tens of milliseconds and the memory of ``Cost``; it belongs on `Offload`, never on a loop.
package struct PasswordHash: Sendable {
    package struct Cost: Sendable, Equatable {
        package let passes: Int
        package let memoryBytes: Int

        package init(passes: Int, memoryBytes: Int) {
            self.passes = passes
            self.memoryBytes = memoryBytes
        }

        /// 19 MiB and two passes, the least that OWASP's password page advises for Argon2id.
        package static let standard = Cost(passes: 2, memoryBytes: 19 << 20)

        /// The least that libsodium takes; for tests.
        package static let least = Cost(passes: 1, memoryBytes: 8_192)
    }

    /// Longer passwords are refused by whoever asks, before any work is done.
    package static let passwordLimitBytes = 1_024

    package enum Failure: Error, Sendable {
        case outOfMemory
    }

    package let cost: Cost

    package init(cost: Cost = .standard) {
        precondition(sodium_init() >= 0, "sodium_init failed")
        self.cost = cost
    }

    /// A salted hash in the usual `$argon2id$…` form.
    package func hash(_ password: String) throws(Failure) -> String {
        var out = [CChar](repeating: 0, count: Int(crypto_pwhash_STRBYTES))
        let password = password.utf8.map(CChar.init(bitPattern:))
        let status = crypto_pwhash_str_alg(
            &out,
            password,
            UInt64(password.count),
            UInt64(cost.passes),
            cost.memoryBytes,
            crypto_pwhash_ALG_ARGON2ID13
        )
        guard status == 0 else { throw .outOfMemory }
        return String(decoding: out.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// Whether `password` made `hash`; false for what is no hash at all.
    package func verify(_ password: String, against hash: String) -> Bool {
        let password = password.utf8.map(CChar.init(bitPattern:))
        return hash.utf8.count < Int(crypto_pwhash_STRBYTES)
            && crypto_pwhash_str_verify(hash, password, UInt64(password.count)) == 0
    }

    /// Whether a hash was made at another cost, so that the next login should replace it.
    package func isOutdated(_ hash: String) -> Bool {
        crypto_pwhash_str_needs_rehash(hash, UInt64(cost.passes), cost.memoryBytes) != 0
    }
}
