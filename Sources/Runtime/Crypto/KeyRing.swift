/// Secret keys by their ids; the first signs, all of them verify.
///
/// Rotation: put a new key in front, restart the nodes one after the other (first with the new key *behind*
/// the old one, so that every node can verify it before any node signs with it), and drop the old key when
/// the last token made with it has expired.
package struct KeyRing: Sendable {
    package struct Key: Sendable {
        package let id: String
        package let secret: [UInt8]
    }

    package enum ParseError: Error, Equatable, Sendable {
        case empty
        case malformed(line: Int)
        case repeated(id: String)
    }

    /// Shorter secrets are refused.
    package static let secretBytes = 32

    private let keys: [Key]

    package var signing: Key { keys[0] }

    /// Reads the key file: a line for each key, `ID SECRET`, the secret in base64url or hexadecimal; lines
    /// that begin with `#` and empty lines do not count.
    package init(parsing text: String) throws(ParseError) {
        var keys: [Key] = []
        for (index, line) in text.split(
            omittingEmptySubsequences: false,
            whereSeparator: \.isNewline
        )
        .enumerated() {
            let words = line.split(whereSeparator: \.isWhitespace)
            guard let first = words.first, !first.hasPrefix("#") else { continue }
            guard words.count == 2, Self.isID(first), let secret = Self.secret(words[1]) else {
                throw .malformed(line: index + 1)
            }
            guard !keys.contains(where: { $0.id == first }) else {
                throw .repeated(id: String(first))
            }
            keys.append(Key(id: String(first), secret: secret))
        }
        guard !keys.isEmpty else { throw .empty }
        self.keys = keys
    }

    /// One random key, for tests and first starts.
    package static func random() -> KeyRing {
        KeyRing(keys: [Key(id: "k1", secret: SecureRandom.bytes(secretBytes))])
    }

    private init(keys: [Key]) { self.keys = keys }

    package subscript(_ id: some StringProtocol) -> Key? { keys.first { $0.id == id } }

    /// A key for one purpose, so that a MAC made for one can never be taken for another.
    package func derived(for purpose: String) -> KeyRing {
        KeyRing(
            keys: keys.map { Key(id: $0.id, secret: Digest.hmac(purpose.utf8, key: $0.secret)) }
        )
    }

    private static func isID(_ text: Substring) -> Bool {
        (1...16).contains(text.utf8.count)
            && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") }
    }

    private static func secret(_ text: Substring) -> [UInt8]? {
        let secret = hexadecimal(text) ?? Base64URL.decode(text)
        guard let secret, secret.count >= secretBytes else { return nil }
        return secret
    }

    private static func hexadecimal(_ text: Substring) -> [UInt8]? {
        guard text.utf8.count == 2 * secretBytes else { return nil }
        var bytes: [UInt8] = []
        var rest = text
        while !rest.isEmpty {
            guard let byte = UInt8(rest.prefix(2), radix: 16) else { return nil }
            bytes.append(byte)
            rest = rest.dropFirst(2)
        }
        return bytes
    }
}
