import Glibc

// What the parsers ask of bytes. All comparisons that ignore case do so for ASCII letters only.

/// Which ASCII bytes may stand in a token (RFC 9110, section 5.6.2), one bit each.
private let lowTokens: UInt64 = 0x03FF_6CFA_0000_0000
private let highTokens: UInt64 = 0x57FF_FFFF_C7FF_FFFE

extension UInt8 {
    @inline(__always)
    var lowercased: UInt8 { self &- 0x41 < 26 ? self | 0x20 : self }

    @inline(__always)
    var isTokenByte: Bool {
        let bits = self < 64 ? lowTokens : highTokens
        return self < 128 && bits >> UInt64(self & 63) & 1 == 1
    }

    @inline(__always)
    var isDigit: Bool { self &- 0x30 < 10 }

    /// The value of a hexadecimal digit.
    @inline(__always)
    var hexValue: UInt8? {
        switch self {
        case 0x30...0x39: self &- 0x30
        case 0x41...0x46: self &- 0x37
        case 0x61...0x66: self &- 0x57
        default: nil
        }
    }
}

extension UnsafeBufferPointer<UInt8> {
    @inline(__always)
    func equals(_ text: StaticString) -> Bool {
        guard count == text.utf8CodeUnitCount, let baseAddress else { return false }
        return memcmp(baseAddress, text.utf8Start, count) == 0
    }

    func equals(_ other: [UInt8]) -> Bool {
        other.withUnsafeBufferPointer { elementsAre($0) }
    }

    @inline(__always)
    func elementsAre(_ other: UnsafeBufferPointer<UInt8>) -> Bool {
        guard count == other.count, let baseAddress, let start = other.baseAddress else {
            return count == other.count
        }
        return memcmp(baseAddress, start, count) == 0
    }

    @inline(__always)
    func equalsIgnoringCase(_ text: StaticString) -> Bool {
        guard count == text.utf8CodeUnitCount else { return false }
        let other = text.utf8Start
        for index in 0..<count where self[index].lowercased != other[index].lowercased {
            return false
        }
        return true
    }

    func equalsIgnoringCase(_ other: UnsafeBufferPointer<UInt8>) -> Bool {
        guard count == other.count else { return false }
        for index in 0..<count where self[index].lowercased != other[index].lowercased {
            return false
        }
        return true
    }

    /// The bytes without spaces and tabs at both ends.
    var trimmed: UnsafeBufferPointer<UInt8> {
        var start = 0
        var end = count
        while start < end, self[start] == 0x20 || self[start] == 0x09 { start += 1 }
        while end > start, self[end - 1] == 0x20 || self[end - 1] == 0x09 { end -= 1 }
        return UnsafeBufferPointer(rebasing: self[start..<end])
    }

    var isToken: Bool {
        guard count > 0 else { return false }
        for byte in self where !byte.isTokenByte { return false }
        return true
    }

    var string: String { String(decoding: self, as: UTF8.self) }
}

extension String {
    func equalsIgnoringCase(_ other: String) -> Bool {
        guard utf8.count == other.utf8.count else { return false }
        var left = self
        var right = other
        return left.withUTF8 { left in right.withUTF8 { left.equalsIgnoringCase($0) } }
    }

    var isToken: Bool {
        var copy = self
        return copy.withUTF8 { $0.isToken }
    }
}
