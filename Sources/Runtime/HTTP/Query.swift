/// The pairs of a query string or of an `application/x-www-form-urlencoded` body, in order.
package struct Query: Sendable {
    /// Pairs beyond this many are dropped and make the query malformed.
    package static let maximumPairs = 1000

    package private(set) var pairs: [(String, String)] = []

    /// False if a percent sequence was broken, the decoded text was not UTF-8, or there were too many pairs.
    package private(set) var isWellFormed = true

    package init(parsing text: String) {
        guard !text.isEmpty else { return }
        var text = text
        text.withUTF8 { parse($0) }
    }

    package init(parsing bytes: [UInt8]) {
        bytes.withUnsafeBufferPointer { parse($0) }
    }

    /// The first value of this key.
    package subscript(_ key: String) -> String? { pairs.first { $0.0 == key }?.1 }

    package func all(_ key: String) -> [String] {
        pairs.filter { $0.0 == key }.map(\.1)
    }

    private mutating func parse(_ bytes: UnsafeBufferPointer<UInt8>) {
        for pair in bytes.split(separator: UInt8(ascii: "&")) {
            guard pairs.count < Query.maximumPairs else {
                isWellFormed = false
                return
            }
            let equals = pair.firstIndex(of: UInt8(ascii: "="))
            let key = decode(pair[..<(equals ?? pair.endIndex)])
            let value = equals.map { decode(pair[($0 + 1)...]) } ?? ""
            pairs.append((key, value))
        }
    }

    private mutating func decode(_ slice: Slice<UnsafeBufferPointer<UInt8>>) -> String {
        let decoded = PercentEncoding.decode(
            UnsafeBufferPointer(rebasing: slice),
            plusIsSpace: true
        )
        if let decoded { return decoded }
        isWellFormed = false
        return slice.reduce(into: "") { $0.unicodeScalars.append(Unicode.Scalar($1)) }
    }
}

/// Percent-encoded text (RFC 3986, section 2.1).
package enum PercentEncoding {
    /// The decoded text; nil if a sequence is broken, or the result is not UTF-8 or holds a NUL.
    static func decode(_ bytes: UnsafeBufferPointer<UInt8>, plusIsSpace: Bool) -> String? {
        let isPlain = bytes.allSatisfy {
            $0 != UInt8(ascii: "%") && $0 != UInt8(ascii: "+") && $0 != 0 && $0 < 0x80
        }
        if isPlain { return bytes.string }
        var decoded: [UInt8] = []
        decoded.reserveCapacity(bytes.count)
        var index = 0
        while index < bytes.count {
            switch bytes[index] {
            case UInt8(ascii: "%"):
                guard index + 2 < bytes.count, let high = bytes[index + 1].hexValue,
                    let low = bytes[index + 2].hexValue
                else { return nil }
                decoded.append(high << 4 | low)
                index += 3
            case UInt8(ascii: "+") where plusIsSpace:
                decoded.append(0x20)
                index += 1
            case let byte:
                decoded.append(byte)
                index += 1
            }
        }
        return decoded.contains(0) ? nil : String(validating: decoded, as: UTF8.self)
    }

    /// Encodes everything but unreserved characters.
    package static func encode(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var encoded: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "-"), UInt8(ascii: "."),
                UInt8(ascii: "_"), UInt8(ascii: "~"):
                encoded.append(byte)
            default:
                encoded += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: encoded, as: UTF8.self)
    }
}
