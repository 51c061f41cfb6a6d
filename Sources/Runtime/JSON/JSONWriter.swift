import CRuntime
import Glibc

/// Writes JSON text into memory of its own.
///
/// Commas and escapes are the writer's business; the caller keeps `key` and value in turn. What it
/// writes is always valid UTF-8. What is short and called often is inlined into the caller's module: an
/// answer is made of hundreds of such calls.
@usableFromInline
package struct JSONWriter: ~Copyable {
    // Raw memory, since an array asks at each append whether it is shared and where it ends.
    @usableFromInline var base: UnsafeMutablePointer<UInt8>
    @usableFromInline var count = 0
    @usableFromInline var capacity: Int
    @usableFromInline var needsComma = false

    package init(reserving capacity: Int = 512) {
        (base, self.capacity) = JSONWriter.allocate(max(capacity, 64))
    }

    deinit { tessera_give_spare(base, capacity) }

    /// The memory of an earlier text on this thread, as a rule: malloc takes long for what is this large.
    private static func allocate(_ least: Int) -> (UnsafeMutablePointer<UInt8>, Int) {
        var size = 0
        let memory = tessera_take_spare(least, &size)!
        return (memory.bindMemory(to: UInt8.self, capacity: size), size)
    }

    /// A copy of what has been written so far.
    package var bytes: [UInt8] { Array(UnsafeBufferPointer(start: base, count: count)) }

    // MARK: Containers

    @inlinable
    package mutating func object<E: Error>(
        _ body: (inout JSONWriter) throws(E) -> Void
    ) throws(E) {
        open(UInt8(ascii: "{"))
        try body(&self)
        close(UInt8(ascii: "}"))
    }

    @inlinable
    package mutating func array<E: Error>(
        _ body: (inout JSONWriter) throws(E) -> Void
    ) throws(E) {
        open(UInt8(ascii: "["))
        try body(&self)
        close(UInt8(ascii: "]"))
    }

    @inlinable
    package mutating func array(_ elements: some Sequence<some JSONEncodable>) {
        array { json in
            for element in elements { element.write(to: &json) }
        }
    }

    // MARK: Keys

    @inlinable
    @inline(__always)
    package mutating func key(_ name: StaticString) {
        let size = name.utf8CodeUnitCount
        let end = separate(size + 3)
        end[0] = UInt8(ascii: "\"")
        // Names in the source need no escape; the tests write each entity and read it back.
        (end + 1).update(from: name.utf8Start, count: size)
        end[size + 1] = UInt8(ascii: "\"")
        end[size + 2] = UInt8(ascii: ":")
        count += size + 3
    }

    /// A key that is known only at run time.
    @_disfavoredOverload
    package mutating func key(_ name: String) {
        string(name)
        room(1).pointee = UInt8(ascii: ":")
        count += 1
        needsComma = false
    }

    /// A key and its value.
    @inlinable
    package mutating func field(_ name: StaticString, _ value: some JSONEncodable) {
        key(name)
        value.write(to: &self)
    }

    // MARK: Values

    @usableFromInline
    package mutating func string(_ value: String) {
        var value = value
        _ = value.withUTF8 { quoted($0) }
    }

    /// Text from elsewhere; what of it is no UTF-8 is replaced as `String(decoding:as:)` does.
    package mutating func string(utf8 text: UnsafeBufferPointer<UInt8>) {
        let start = count
        let hadComma = needsComma
        guard quoted(text) >= 0x80 else { return }
        var decoded = String(decoding: text, as: UTF8.self)
        let isSame = decoded.withUTF8 { decoded in
            decoded.count == text.count
                && memcmp(decoded.baseAddress!, text.baseAddress!, text.count) == 0
        }
        if isSame { return }
        count = start
        needsComma = hadComma
        string(decoded)
    }

    @inlinable
    package mutating func int(_ value: Int) {
        integer(UInt64(value.magnitude), isNegative: value < 0, isQuoted: false)
    }

    @inlinable
    package mutating func int(_ value: Int64) {
        integer(value.magnitude, isNegative: value < 0, isQuoted: false)
    }

    @_disfavoredOverload
    @inlinable
    package mutating func int(_ value: some FixedWidthInteger) {
        integer(UInt64(value.magnitude), isNegative: value < 0, isQuoted: false)
    }

    /// A whole number as a string, as the API writes its ids.
    @inlinable
    package mutating func string(decimal value: Int64) {
        integer(value.magnitude, isNegative: value < 0, isQuoted: true)
    }

    @usableFromInline
    package mutating func bool(_ value: Bool) {
        word(value ? "true" : "false")
    }

    @usableFromInline
    package mutating func null() {
        word("null")
    }

    /// A number; JSON has no word for infinity and not-a-number, which become `null`.
    @usableFromInline
    package mutating func double(_ value: Double) {
        guard value.isFinite else { return null() }
        raw(value.description.utf8)
    }

    /// Pastes bytes which are one complete JSON value.
    @inlinable
    package mutating func raw(_ json: some Collection<UInt8>) {
        let size = json.count
        let room = UnsafeMutableBufferPointer(start: separate(size), count: size)
        _ = room.initialize(fromContentsOf: json)
        count += size
        needsComma = true
    }

    private mutating func word(_ text: StaticString) {
        let size = text.utf8CodeUnitCount
        separate(size).update(from: text.utf8Start, count: size)
        count += size
        needsComma = true
    }

    // MARK: Bytes

    /// Room for `size` bytes behind what has been written; the caller fills it and counts them.
    @inlinable
    @inline(__always)
    mutating func room(_ size: Int) -> UnsafeMutablePointer<UInt8> {
        if capacity - count < size { grow(size) }
        return base + count
    }

    /// The comma that is due, if one is, and then room.
    @inlinable
    @inline(__always)
    mutating func separate(_ size: Int) -> UnsafeMutablePointer<UInt8> {
        let end = room(size + 1)
        guard needsComma else { return end }
        needsComma = false
        end.pointee = UInt8(ascii: ",")
        count += 1
        return end + 1
    }

    @inlinable
    @inline(__always)
    mutating func open(_ bracket: UInt8) {
        separate(1).pointee = bracket
        count += 1
    }

    @inlinable
    @inline(__always)
    mutating func close(_ bracket: UInt8) {
        room(1).pointee = bracket
        count += 1
        needsComma = true
    }

    @usableFromInline
    mutating func grow(_ size: Int) {
        let (larger, space) = JSONWriter.allocate(max(capacity * 2, count + size))
        larger.update(from: base, count: count)
        tessera_give_spare(base, capacity)
        capacity = space
        base = larger
    }

    @usableFromInline
    mutating func integer(_ magnitude: UInt64, isNegative: Bool, isQuoted: Bool) {
        // The digits are written from their end and then moved as three words, wherever they begin; so the
        // room is for more than a comma, two quotes, a sign and 20 digits.
        var end = separate(2 + 3 * DecimalDigits.room)
        let start = end
        if isQuoted {
            end.pointee = UInt8(ascii: "\"")
            end += 1
        }
        if isNegative {
            end.pointee = UInt8(ascii: "-")
            end += 1
        }
        let limit = end + 2 * DecimalDigits.room
        let digits = DecimalDigits.write(magnitude, before: limit)
        DecimalDigits.move(digits, to: end)
        end += limit - digits
        if isQuoted {
            end.pointee = UInt8(ascii: "\"")
            end += 1
        }
        count += end - start
        needsComma = true
    }

    /// Writes the text between quotes; the bits that any of its bytes has.
    private mutating func quoted(_ text: UnsafeBufferPointer<UInt8>) -> UInt8 {
        let size = text.count
        let start = separate(size + 2)
        start[0] = UInt8(ascii: "\"")
        var bits: UInt8 = 0
        let clean = JSONEscape.copyClean(text, to: start + 1, &bits)
        count += 1 + clean
        if clean < size { escape(text, from: clean, &bits) }
        room(1).pointee = UInt8(ascii: "\"")
        count += 1
        needsComma = true
        return bits
    }

    /// The rest of a text that has something to escape.
    private mutating func escape(
        _ text: UnsafeBufferPointer<UInt8>,
        from start: Int,
        _ bits: inout UInt8
    ) {
        for byte in text[start...] {
            bits |= byte
            let end = room(JSONEscape.longest)
            if JSONEscape.isNeeded(byte) {
                count += JSONEscape.write(byte, to: end)
            } else {
                end.pointee = byte
                count += 1
            }
        }
    }
}
