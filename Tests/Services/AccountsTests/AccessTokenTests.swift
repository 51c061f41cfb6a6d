import Accounts
import Contracts
import Crypto
import Sharding
import Testing

@Suite struct `Access token` {
    private let now = Timestamp(milliseconds: 1_800_000_000_000)

    private var token: AccessToken {
        AccessToken(
            user: UserID(rawValue: 77),
            session: SessionID(rawValue: 1 << 40),
            scopes: Scopes(names: ["read", "write:statuses"]),
            expiresAt: now + .seconds(60)
        )
    }

    @Test func `what was written is read`() {
        let tokens = AccessTokens(keys: .random())

        let text = tokens.text(of: token)

        #expect(tokens.read(text, at: now) == token)
        #expect(tokens.text(of: token) == text)
    }

    @Test func `a token of an application has no user`() {
        let tokens = AccessTokens(keys: .random())
        var token = token
        token.user = nil

        #expect(tokens.read(tokens.text(of: token), at: now)?.user == nil)
    }

    @Test func `an expired token is refused`() {
        let tokens = AccessTokens(keys: .random())

        #expect(tokens.read(tokens.text(of: token), at: now + .seconds(60)) == nil)
    }

    @Test func `a token of another installation is refused`() {
        let text = AccessTokens(keys: .random()).text(of: token)

        #expect(AccessTokens(keys: .random()).read(text, at: now) == nil)
    }

    @Test func `any changed letter makes it a forgery`() {
        let tokens = AccessTokens(keys: .random())
        let text = Array(tokens.text(of: token).utf8)

        for index in text.indices {
            for letter in "A_9.".utf8 where letter != text[index] {
                var forged = text
                forged[index] = letter
                #expect(tokens.read(String(decoding: forged, as: UTF8.self), at: now) == nil)
            }
            #expect(tokens.read(String(decoding: text[..<index], as: UTF8.self), at: now) == nil)
        }
    }

    @Test(arguments: [
        "", "v1", "v1.", "v1...", "v1.AAAA.k1.AAAA", "v2.a.b.c",
        String(repeating: "a", count: 4_000),
        "v1.\u{0}.k1.x", "Bearer v1.a.k1.b",
    ])
    func `what is no token is refused`(text: String) {
        #expect(AccessTokens(keys: .random()).read(text, at: now) == nil)
    }

    @Test func `keys rotate without ending sessions`() throws {
        let first = "a \(Base64URL.encode(SecureRandom.bytes(32)))"
        let second = "b \(Base64URL.encode(SecureRandom.bytes(32)))"
        let before = AccessTokens(keys: try KeyRing(parsing: first))
        let during = AccessTokens(keys: try KeyRing(parsing: "\(second)\n\(first)"))
        let after = AccessTokens(keys: try KeyRing(parsing: second))
        let old = before.text(of: token)

        #expect(during.read(old, at: now) == token)
        #expect(during.text(of: token).contains(".b."))
        #expect(after.read(during.text(of: token), at: now) == token)
        #expect(after.read(old, at: now) == nil)
    }
}
