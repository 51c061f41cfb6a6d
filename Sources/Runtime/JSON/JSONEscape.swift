/// Which bytes a JSON string must escape, and how.
enum JSONEscape {
    /// Bytes of the longest escape, `\u0000`.
    static let longest = 6

    @inline(__always)
    static func isNeeded(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
    }

    /// Whether one of eight bytes needs an escape; may say yes for nothing, never no wrongly.
    @inline(__always)
    private static func isNeeded(inEightBytes word: UInt64) -> Bool {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let highs: UInt64 = 0x8080_8080_8080_8080
        let control = word &- ones &* 0x20
        let quotes = (word ^ (ones &* 0x22)) &- ones
        let slashes = (word ^ (ones &* 0x5C)) &- ones
        return (control | quotes | slashes) & ~word & highs != 0
    }

    /// Copies `text` up to a byte that needs an escape, as far as is easily seen; returns how far it came.
    ///
    /// `bits` gets the bits that any of the copied bytes has.
    static func copyClean(
        _ text: UnsafeBufferPointer<UInt8>,
        to out: UnsafeMutablePointer<UInt8>,
        _ bits: inout UInt8
    ) -> Int {
        guard let base = text.baseAddress else { return 0 }
        let size = text.count
        let from = UnsafeRawPointer(base)
        let to = UnsafeMutableRawPointer(out)
        var index = 0
        guard size >= 8 else {
            while index < size, !isNeeded(base[index]) {
                bits |= base[index]
                out[index] = base[index]
                index &+= 1
            }
            return index
        }
        var all: UInt64 = 0
        defer { if all & 0x8080_8080_8080_8080 != 0 { bits |= 0x80 } }
        while index < size {
            // The last eight bytes may overlap those before, so that no single bytes are left over.
            let place = min(index, size &- 8)
            let word = from.loadUnaligned(fromByteOffset: place, as: UInt64.self)
            if isNeeded(inEightBytes: word) { return index }
            to.storeBytes(of: word, toByteOffset: place, as: UInt64.self)
            all |= word
            index = place &+ 8
        }
        return size
    }

    /// Writes the escape of one byte; returns its length.
    static func write(_ byte: UInt8, to out: UnsafeMutablePointer<UInt8>) -> Int {
        out[0] = UInt8(ascii: "\\")
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): out[1] = byte
        case 0x08: out[1] = UInt8(ascii: "b")
        case 0x09: out[1] = UInt8(ascii: "t")
        case 0x0A: out[1] = UInt8(ascii: "n")
        case 0x0C: out[1] = UInt8(ascii: "f")
        case 0x0D: out[1] = UInt8(ascii: "r")
        default:
            out[1] = UInt8(ascii: "u")
            out[2] = UInt8(ascii: "0")
            out[3] = UInt8(ascii: "0")
            out[4] = hexDigit(byte >> 4)
            out[5] = hexDigit(byte & 15)
            return longest
        }
        return 2
    }

    private static func hexDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }
}
