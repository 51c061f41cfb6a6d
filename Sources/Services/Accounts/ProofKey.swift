internal import Crypto

/// Proof Key for Code Exchange (RFC 7636), method S256.
package enum ProofKey {
    /// Whether a text can be the challenge of this method: 43 base64url letters, 32 bytes.
    package static func isChallenge(_ text: String) -> Bool {
        text.utf8.count == 43 && Base64URL.decode(text)?.count == 32
    }

    package static func verify(_ verifier: String, against challenge: String) -> Bool {
        guard (43...128).contains(verifier.utf8.count), verifier.utf8.allSatisfy(isUnreserved),
            let expected = Base64URL.decode(challenge)
        else { return false }
        return Digest.equal(Digest.sha256(verifier), expected)
    }

    private static func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "_"), UInt8(ascii: "~"):
            true
        default: false
        }
    }
}
