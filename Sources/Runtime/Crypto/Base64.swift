/// Base64 with `+` and `/`, with padding (RFC 4648 section 4).
package enum Base64 {
    private static let alphabet = Array(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8
    )

    private static let values: [UInt8] = {
        var values = [UInt8](repeating: 0xff, count: 256)
        for (value, character) in alphabet.enumerated() { values[Int(character)] = UInt8(value) }
        return values
    }()

    package static func encode(_ bytes: some Collection<UInt8>) -> String {
        var text: [UInt8] = []
        text.reserveCapacity((bytes.count + 2) / 3 * 4)
        var pending: UInt32 = 0
        var held = 0
        for byte in bytes {
            pending = pending << 8 | UInt32(byte)
            held += 1
            if held == 3 {
                append(pending, characters: 4, to: &text)
                pending = 0
                held = 0
            }
        }
        if held > 0 {
            append(pending << UInt32(8 * (3 - held)), characters: held + 1, to: &text)
            for _ in held..<3 { text.append(UInt8(ascii: "=")) }
        }
        return String(decoding: text, as: UTF8.self)
    }

    package static func decode(_ text: String) -> [UInt8]? {
        let characters = Array(text.utf8)
        guard characters.count % 4 == 0 else { return nil }
        let padding = characters.reversed().prefix { $0 == UInt8(ascii: "=") }.count
        guard padding <= 2 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(characters.count / 4 * 3)
        var pending: UInt32 = 0
        var held = 0
        for character in characters.dropLast(padding) {
            let value = values[Int(character)]
            guard value != 0xff else { return nil }
            pending = pending << 6 | UInt32(value)
            held += 6
            if held >= 8 {
                held -= 8
                bytes.append(UInt8(truncatingIfNeeded: pending >> UInt32(held)))
            }
        }
        return bytes
    }

    private static func append(_ word: UInt32, characters: Int, to text: inout [UInt8]) {
        for place in 0..<characters {
            text.append(alphabet[Int(word >> UInt32(18 - 6 * place) & 63)])
        }
    }
}
