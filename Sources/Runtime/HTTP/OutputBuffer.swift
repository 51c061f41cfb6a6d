import Glibc

/// Bytes on their way to a socket; one is shared by all connections of a server.
final class OutputBuffer {
    private(set) var base: UnsafeMutablePointer<UInt8>
    private(set) var count = 0
    private var capacity: Int

    init(capacity: Int = 65_536) {
        self.capacity = capacity
        base = .allocate(capacity: capacity)
    }

    deinit { base.deallocate() }

    var bytes: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(start: base, count: count) }

    func clear() {
        count = 0
        // A rare large answer must not keep its memory for ever.
        guard capacity > 1_048_576 else { return }
        base.deallocate()
        capacity = 65_536
        base = .allocate(capacity: capacity)
    }

    /// Room for `size` more bytes, which the caller fills at once.
    @inline(__always)
    func extend(_ size: Int) -> UnsafeMutablePointer<UInt8> {
        if count + size > capacity { grow(to: count + size) }
        defer { count += size }
        return base + count
    }

    private func grow(to needed: Int) {
        capacity = max(needed, capacity * 2)
        let larger = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
        larger.update(from: base, count: count)
        base.deallocate()
        base = larger
    }

    @inline(__always)
    func append(_ text: StaticString) {
        let size = text.utf8CodeUnitCount
        memcpy(extend(size), text.utf8Start, size)
    }

    @inline(__always)
    func append(_ bytes: UnsafeBufferPointer<UInt8>) {
        guard let source = bytes.baseAddress, bytes.count > 0 else { return }
        memcpy(extend(bytes.count), source, bytes.count)
    }

    @inline(__always)
    func append(_ bytes: [UInt8]) {
        bytes.withUnsafeBufferPointer { append($0) }
    }

    @inline(__always)
    func append(_ text: String) {
        var text = text
        text.withUTF8 { append($0) }
    }

    func append(decimal value: Int) {
        var digits: (UInt64, UInt64, UInt64) = (0, 0, 0)
        withUnsafeMutableBytes(of: &digits) { scratch in
            var place = scratch.count
            var rest = value
            repeat {
                place -= 1
                scratch[place] = 0x30 + UInt8(rest % 10)
                rest /= 10
            } while rest > 0
            memcpy(
                extend(scratch.count - place),
                scratch.baseAddress! + place,
                scratch.count - place
            )
        }
    }

    func append(hex value: Int) {
        var shift = 60
        while shift > 0, value >> shift == 0 { shift -= 4 }
        while shift >= 0 {
            let nibble = UInt8(value >> shift & 15)
            extend(1).pointee = nibble + (nibble < 10 ? 0x30 : 0x57)
            shift -= 4
        }
    }
}
