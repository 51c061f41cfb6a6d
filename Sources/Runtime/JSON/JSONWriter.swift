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
    @_disfavoredOverload
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

    package mutating func int(_ value: Int) {
        integer(UInt64(value.magnitude), isNegative: value < 0)
    }

    package mutating func int(_ value: Int64) {
        integer(value.magnitude, isNegative: value < 0)
    }

    @_disfavoredOverload
    package mutating func int(_ value: some FixedWidthInteger) {
        integer(UInt64(value.magnitude), isNegative: value < 0)
    }

    /// A whole number as a string, as the API writes its ids.
    package mutating func string(decimal value: Int64) {
        integer(value.magnitude, isNegative: value < 0, isQuoted: true)
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

    private mutating func integer(_ magnitude: UInt64, isNegative: Bool, isQuoted: Bool = false) {
        separate()
        // 20 digits, a sign and two quotes; written from the end.
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 23) { text in
            var start = 23
            func put(_ byte: UInt8) {
                start &-= 1
                text[start] = byte
            }
            if isQuoted { put(quote) }
            var rest = magnitude
            repeat {
                put(UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: rest % 10))
                rest /= 10
            } while rest > 0
            if isNegative { put(UInt8(ascii: "-")) }
            if isQuoted { put(quote) }
            bytes.append(contentsOf: UnsafeBufferPointer(rebasing: text[start...]))
        }
        needsComma = true
    }

    private mutating func quoted(_ value: String) {
        var value = value
        value.withUTF8 { utf8 in
            bytes.append(quote)
            var clean = 0
            while true {
                let escape = JSONEscape.firstNeeded(in: utf8, from: clean)
                bytes.append(contentsOf: UnsafeBufferPointer(rebasing: utf8[clean..<escape]))
                guard escape < utf8.count else { break }
                JSONEscape.append(utf8[escape], to: &bytes)
                clean = escape + 1
            }
            bytes.append(quote)
        }
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

    /// Where the first byte at or after `start` is that needs an escape; the end if none does.
    static func firstNeeded(in utf8: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
        guard let base = utf8.baseAddress else { return 0 }
        let text = UnsafeRawPointer(base)
        var index = start
        // Eight bytes at a time while none of them needs an escape; never past the end.
        while index &+ 8 <= utf8.count,
            !isNeeded(inEightBytes: text.loadUnaligned(fromByteOffset: index, as: UInt64.self))
        {
            index &+= 8
        }
        while index < utf8.count, !isNeeded(base[index]) { index &+= 1 }
        return index
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
