import Glibc

/// 128 random bits that name a request, and its trace if the client brought none.
struct RequestID: Sendable {
    let high: UInt64
    let low: UInt64

    /// Writes 32 lower-case hexadecimal digits.
    func write(to out: UnsafeMutablePointer<UInt8>) {
        RequestID.write(high, to: out)
        RequestID.write(low, to: out + 16)
    }

    var description: String {
        String(unsafeUninitializedCapacity: 32) { buffer in
            write(to: buffer.baseAddress!)
            return 32
        }
    }

    static func write(_ value: UInt64, to out: UnsafeMutablePointer<UInt8>) {
        for index in 0..<16 {
            let nibble = UInt8(truncatingIfNeeded: value >> UInt64(60 - 4 * index)) & 15
            out[index] = nibble &+ (nibble < 10 ? 0x30 : 0x57)
        }
    }
}

/// A fast generator for names, not for secrets: xoshiro256**, seeded by the kernel.
struct NameGenerator: RandomNumberGenerator, Sendable {
    private var a: UInt64
    private var b: UInt64
    private var c: UInt64
    private var d: UInt64

    init() {
        var seed = SystemRandomNumberGenerator()
        a = seed.next()
        b = seed.next()
        c = seed.next()
        d = seed.next() | 1
    }

    mutating func next() -> UInt64 {
        let result = NameGenerator.rotate(b &* 5, 7) &* 9
        let shifted = b << 17
        c ^= a
        d ^= b
        b ^= c
        a ^= d
        c ^= shifted
        d = NameGenerator.rotate(d, 45)
        return result
    }

    mutating func nextID() -> RequestID {
        RequestID(high: next(), low: next() | 1)
    }

    private static func rotate(_ value: UInt64, _ count: UInt64) -> UInt64 {
        value << count | value >> (64 - count)
    }
}
