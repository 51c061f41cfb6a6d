package import Contracts
package import Crypto
package import Sharding

/// What a bearer token says, before anybody has looked whether its session still stands.
package struct AccessToken: Sendable, Equatable {
    /// Nil for a token of an application by itself.
    package var user: UserID?
    package var session: SessionID
    package var scopes: Scopes
    /// In whole seconds, as the token has no room for more.
    package var expiresAt: Timestamp

    package init(user: UserID?, session: SessionID, scopes: Scopes, expiresAt: Timestamp) {
        self.user = user
        self.session = session
        self.scopes = scopes
        self.expiresAt = expiresAt
    }
}

/// Writes and checks bearer tokens: `v1.<payload>.<key id>.<MAC>`.
///
/// Nothing is looked up, so any node can tell a forged or expired token by itself. Whether the session has been
/// revoked is for ``SessionDirectory`` to say.
package struct AccessTokens: Sendable {
    /// A text longer than this is no token of ours.
    package static let limitBytes = 2_048

    private static let prefix = "v1."
    private let keys: KeyRing

    package init(keys: KeyRing) {
        self.keys = keys.derived(for: "access token")
    }

    /// The same token always gives the same text while the signing key stays.
    package func text(of token: AccessToken) -> String {
        var payload: [UInt8] = []
        append(token.user?.rawValue ?? 0, to: &payload)
        append(token.session.rawValue, to: &payload)
        append(token.expiresAt.seconds, to: &payload)
        payload += token.scopes.description.utf8
        let key = keys.signing
        let signed = "\(Self.prefix)\(Base64URL.encode(payload)).\(key.id)"
        return "\(signed).\(Base64URL.encode(Digest.hmac(signed.utf8, key: key.secret)))"
    }

    /// The token behind a text; nil where it is forged, expired, or none at all.
    package func read(_ text: String, at now: Timestamp) -> AccessToken? {
        guard text.utf8.count <= Self.limitBytes, text.hasPrefix(Self.prefix) else { return nil }
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4, let key = keys[parts[2]], let mac = Base64URL.decode(parts[3]),
            let payload = Base64URL.decode(parts[1]), payload.count >= 24
        else { return nil }
        let signed = text[..<parts[2].endIndex]
        guard Digest.equal(mac, Digest.hmac(signed.utf8, key: key.secret)) else { return nil }
        let token = AccessToken(
            user: integer(payload[0..<8]).nonzero.map(UserID.init(rawValue:)),
            session: SessionID(rawValue: integer(payload[8..<16])),
            scopes: Scopes(
                names: String(decoding: payload[24...], as: UTF8.self)
                    .split(separator: " ").map(String.init)
            ),
            expiresAt: Timestamp(milliseconds: integer(payload[16..<24]) * 1_000)
        )
        return token.expiresAt > now ? token : nil
    }

    private func append(_ value: Int64, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
    }

    private func integer(_ bytes: ArraySlice<UInt8>) -> Int64 {
        bytes.reduce(0) { $0 << 8 | Int64($1) }
    }
}

extension Int64 {
    fileprivate var nonzero: Int64? { self == 0 ? nil : self }
}
