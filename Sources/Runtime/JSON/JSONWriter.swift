/// Writes JSON text into a byte array.
///
/// Commas and escapes are the writer's business; the caller keeps `key` and value in turn. What it
/// writes is always valid UTF-8, since a Swift string is.
package struct JSONWriter: Sendable {
    /// What has been written so far.
    package private(set) var bytes: [UInt8]
    private var needsComma = false

    package init(reserving capacity: Int = 256) {
        bytes = []
        bytes.reserveCapacity(capacity)
    }

    // MARK: Containers

    package mutating func object<E: Error>(
        _ body: (inout JSONWriter) throws(E) -> Void
    ) throws(E) {
        open(UInt8(ascii: "{"))
        try body(&self)
        close(UInt8(ascii: "}"))
    }

    package mutating func array<E: Error>(
        _ body: (inout JSONWriter) throws(E) -> Void
    ) throws(E) {
        open(UInt8(ascii: "["))
        try body(&self)
        close(UInt8(ascii: "]"))
    }

    package mutating func array(_ elements: some Sequence<some JSONEncodable>) {
        array { json in
            for element in elements { element.write(to: &json) }
        }
    }

    // MARK: Keys

    package mutating func key(_ name: StaticString) {
        separate()
        bytes.append(quote)
        // Names in the source need no escape; the tests write each entity and read it back.
        name.withUTF8Buffer { bytes.append(contentsOf: $0) }
        bytes.append(quote)
        bytes.append(colon)
    }

    /// A key that is known only at run time.
    package mutating func key(_ name: String) {
        separate()
        quoted(name)
        bytes.append(colon)
    }

    /// A key and its value.
    package mutating func field(_ name: StaticString, _ value: some JSONEncodable) {
        key(name)
        value.write(to: &self)
    }

    // MARK: Values

    package mutating func string(_ value: String) {
        separate()
        quoted(value)
        needsComma = true
    }

    package mutating func int(_ value: some FixedWidthInteger) {
        separate()
        decimal(value)
        needsComma = true
    }

    package mutating func bool(_ value: Bool) {
        word(value ? "true" : "false")
    }

    package mutating func null() {
        word("null")
    }

    /// A number; JSON has no word for infinity and not-a-number, which become `null`.
    package mutating func double(_ value: Double) {
        guard value.isFinite else { return null() }
        separate()
        bytes.append(contentsOf: value.description.utf8)
        needsComma = true
    }

    /// Pastes bytes which are one complete JSON value.
    package mutating func raw(_ json: some Collection<UInt8>) {
        separate()
        bytes.append(contentsOf: json)
        needsComma = true
    }

    // MARK: Bytes

    private var quote: UInt8 { UInt8(ascii: "\"") }
    private var colon: UInt8 { UInt8(ascii: ":") }

    private mutating func separate() {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
        needsComma = false
    }

    private mutating func open(_ bracket: UInt8) {
        separate()
        bytes.append(bracket)
    }

    private mutating func close(_ bracket: UInt8) {
        bytes.append(bracket)
        needsComma = true
    }

    private mutating func word(_ text: StaticString) {
        separate()
        text.withUTF8Buffer { bytes.append(contentsOf: $0) }
        needsComma = true
    }

    private mutating func decimal(_ value: some FixedWidthInteger) {
        guard value != 0 else { return bytes.append(UInt8(ascii: "0")) }
        if value < 0 { bytes.append(UInt8(ascii: "-")) }
        var rest = UInt64(value.magnitude)
        let start = bytes.count
        while rest > 0 {
            bytes.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10))
            rest /= 10
        }
        bytes[start...].reverse()
    }

    private mutating func quoted(_ value: String) {
        bytes.append(quote)
        var value = value
        value.withUTF8 { utf8 in
            var clean = 0
            var index = 0
            while index < utf8.count {
                // Eight bytes at a time while none of them needs an escape.
                if index &+ 8 <= utf8.count,
                    !JSONEscape.isNeeded(inEightBytes: loadWord(utf8, at: index))
                {
                    index &+= 8
                    continue
                }
                let byte = utf8[index]
                if JSONEscape.isNeeded(byte) {
                    bytes.append(contentsOf: utf8[clean..<index])
                    JSONEscape.append(byte, to: &bytes)
                    clean = index &+ 1
                }
                index &+= 1
            }
            bytes.append(contentsOf: utf8[clean...])
        }
        bytes.append(quote)
    }

    @inline(__always)
    private func loadWord(_ utf8: UnsafeBufferPointer<UInt8>, at index: Int) -> UInt64 {
        // The caller has checked that eight bytes are left.
        UnsafeRawPointer(utf8.baseAddress! + index).loadUnaligned(as: UInt64.self)
    }
}

/// Which bytes a JSON string must escape, and how.
enum JSONEscape {
    @inline(__always)
    static func isNeeded(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
    }

    /// Whether one of eight bytes needs an escape; may say yes for nothing, never no wrongly.
    @inline(__always)
    static func isNeeded(inEightBytes word: UInt64) -> Bool {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let highs: UInt64 = 0x8080_8080_8080_8080
        let control = word &- ones &* 0x20
        let quotes = (word ^ (ones &* 0x22)) &- ones
        let slashes = (word ^ (ones &* 0x5C)) &- ones
        return (control | quotes | slashes) & ~word & highs != 0
    }

    static func append(_ byte: UInt8, to bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "\\"))
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes.append(byte)
        case 0x08: bytes.append(UInt8(ascii: "b"))
        case 0x09: bytes.append(UInt8(ascii: "t"))
        case 0x0A: bytes.append(UInt8(ascii: "n"))
        case 0x0C: bytes.append(UInt8(ascii: "f"))
        case 0x0D: bytes.append(UInt8(ascii: "r"))
        default:
            bytes.append(contentsOf: "u00".utf8)
            bytes.append(hexDigit(byte >> 4))
            bytes.append(hexDigit(byte & 15))
        }
    }

    private static func hexDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }
}
