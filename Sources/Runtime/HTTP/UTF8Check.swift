/// Whether bytes that come in pieces are UTF-8 (RFC 3629): no surrogates, nothing spelt too long.
///
/// It says so at the first byte that cannot belong to any text, wherever the pieces are cut.
struct UTF8Check: Equatable {
    /// Bytes that the begun character still needs, and between what the next of them must lie.
    private var left: UInt8 = 0
    private var low: UInt8 = 0x80
    private var high: UInt8 = 0xBF

    /// Whether the text may end here.
    var isComplete: Bool { left == 0 }

    /// False from the first byte on that no text could have here.
    mutating func take(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        for byte in bytes {
            if left > 0 {
                guard low <= byte, byte <= high else { return false }
                (low, high) = (0x80, 0xBF)
                left -= 1
            } else if byte >= 0x80 {
                guard begin(byte) else { return false }
            }
        }
        return true
    }

    private mutating func begin(_ byte: UInt8) -> Bool {
        switch byte {
        case 0xC2...0xDF: left = 1
        case 0xE0...0xEF:
            left = 2
            // Below would be spelt too long, above would be a surrogate.
            if byte == 0xE0 { low = 0xA0 }
            if byte == 0xED { high = 0x9F }
        case 0xF0...0xF4:
            left = 3
            // Below would be spelt too long, above would be past the last character.
            if byte == 0xF0 { low = 0x90 }
            if byte == 0xF4 { high = 0x8F }
        default: return false
        }
        return true
    }
}
