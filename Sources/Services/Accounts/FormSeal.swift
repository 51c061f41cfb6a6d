internal import Crypto
internal import Sharding

/// Proof that a form was made by us, for this browser, a short while ago.
///
/// The browser holds a random value in a cookie which other sites can neither read nor set, and which a form
/// that they submit is sent without; the seal in the form is a MAC over that value and over what was shown.
struct FormSeal: Sendable {
    static let lifetime = Duration.seconds(3_600)

    let secret: [UInt8]

    func seal(_ shown: String, for browser: String, at now: Timestamp) -> String {
        let expiry = (now + Self.lifetime).seconds
        return "\(expiry).\(Base64URL.encode(mac(shown, browser, expiry)))"
    }

    func verify(_ seal: String, _ shown: String, for browser: String, at now: Timestamp) -> Bool {
        let parts = seal.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let expiry = Int64(parts[0]), expiry > now.seconds,
            let given = Base64URL.decode(parts[1])
        else { return false }
        return Digest.equal(given, mac(shown, browser, expiry))
    }

    private func mac(_ shown: String, _ browser: String, _ expiry: Int64) -> [UInt8] {
        Digest.hmac("\(expiry)\n\(browser)\n\(shown)".utf8, key: secret)
    }
}

/// The cookies of our own pages.
enum Cookie {
    static func value(_ name: String, in header: String?) -> String? {
        for pair in (header ?? "").split(separator: ";") {
            let pair = pair.drop { $0 == " " }
            guard let equals = pair.firstIndex(of: "="), pair[..<equals] == name else { continue }
            return String(pair[pair.index(after: equals)...])
        }
        return nil
    }

    /// `value` is base64url and dots; a lifetime of zero takes the cookie away.
    static func header(
        _ name: String,
        _ value: String,
        path: String,
        lifetime: Duration,
        secure: Bool
    ) -> String {
        "\(name)=\(value); Path=\(path); Max-Age=\(lifetime.components.seconds); HttpOnly; "
            + "SameSite=Lax\(secure ? "; Secure" : "")"
    }
}
