/// Whole numbers as decimal digits.
enum DecimalDigits {
    /// Bytes that hold the digits of any `UInt64`, rounded up to whole words.
    static let room = 24

    private static let pairs: StaticString =
        """
        00010203040506070809101112131415161718192021222324252627282930313233343536373839\
        40414243444546474849505152535455565758596061626364656667686970717273747576777879\
        8081828384858687888990919293949596979899
        """

    /// Writes the digits so that they end before `end`; returns where they begin.
    static func write(
        _ value: UInt64,
        before end: UnsafeMutablePointer<UInt8>
    ) -> UnsafeMutablePointer<UInt8> {
        var start = UnsafeMutableRawPointer(end)
        var rest = value
        // Groups of eight digits do not wait for one another.
        while rest >= 100_000_000 {
            let higher = rest / 100_000_000
            let group = UInt32(truncatingIfNeeded: rest &- higher &* 100_000_000)
            rest = higher
            start -= 8
            four(group / 10_000, to: start)
            four(group % 10_000, to: start + 4)
        }
        var few = UInt32(truncatingIfNeeded: rest)
        while few >= 100 {
            start -= 2
            two(few % 100, to: start)
            few /= 100
        }
        if few >= 10 {
            start -= 2
            two(few, to: start)
        } else {
            start -= 1
            start.storeBytes(of: UInt8(ascii: "0") &+ UInt8(few), as: UInt8.self)
        }
        return start.assumingMemoryBound(to: UInt8.self)
    }

    /// Moves ``room`` bytes, of which some are digits.
    @inline(__always)
    static func move(_ digits: UnsafeMutablePointer<UInt8>, to place: UnsafeMutablePointer<UInt8>) {
        let from = UnsafeRawPointer(digits)
        let words = from.loadUnaligned(as: (UInt64, UInt64, UInt64).self)
        UnsafeMutableRawPointer(place).storeBytes(of: words, as: (UInt64, UInt64, UInt64).self)
    }

    @inline(__always)
    private static func four(_ value: UInt32, to place: UnsafeMutableRawPointer) {
        two(value / 100, to: place)
        two(value % 100, to: place + 2)
    }

    @inline(__always)
    private static func two(_ value: UInt32, to place: UnsafeMutableRawPointer) {
        // Two characters for each number below a hundred, so never past the end of the text.
        let pair = UnsafeRawPointer(pairs.utf8Start)
            .loadUnaligned(fromByteOffset: Int(value) * 2, as: UInt16.self)
        place.storeBytes(of: pair, as: UInt16.self)
    }
}
