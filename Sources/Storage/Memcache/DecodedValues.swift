import Glibc

/// What cached bytes mean, for those that come often: a post that many read is taken apart once, not at each look.
///
/// Nothing is kept alive by it beyond what the cache gives: what has other bytes is read anew. Bounded in number, the
/// older half forgotten at a time; values above ``valueLimit`` are read each time.
package final class DecodedValues<Value: Sendable>: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    /// Values of each of two generations.
    package static var generationLimit: Int { 1_024 }
    /// In bytes.
    package static var valueLimit: Int { 16 << 10 }

    private let decode: (_ bytes: [UInt8]) -> Value?
    private var young: [Name: Known] = [:]
    private var old: [Name: Known] = [:]

    /// How often a value had been read before.
    package private(set) var hits = 0

    /// `decode` depends on the bytes alone, and gives nil for what it cannot read.
    package init(decode: @escaping (_ bytes: [UInt8]) -> Value?) {
        self.decode = decode
    }

    package func value(of bytes: [UInt8]) -> Value? {
        guard bytes.count <= Self.valueLimit, let name = Name(bytes) else { return decode(bytes) }
        if let known = young[name], known.isSame(bytes) {
            hits += 1
            return known.value
        }
        if let known = old[name], known.isSame(bytes) {
            hits += 1
            remember(known, as: name)
            return known.value
        }
        guard let value = decode(bytes) else { return nil }
        remember(Known(bytes, value), as: name)
        return value
    }

    private func remember(_ known: Known, as name: Name) {
        if young.count >= Self.generationLimit, young[name] == nil {
            old = young
            young = [:]
        }
        young[name] = known
    }

    /// Where to look: how the bytes begin, which is with an id in what we keep.
    private struct Name: Hashable {
        let words: SIMD4<UInt64>

        init?(_ bytes: [UInt8]) {
            guard bytes.count >= 32 else { return nil }
            words = bytes.withUnsafeBytes { $0.loadUnaligned(as: SIMD4<UInt64>.self) }
        }
    }

    private final class Known {
        let bytes: [UInt8]
        let value: Value

        init(_ bytes: [UInt8], _ value: Value) {
            self.bytes = bytes
            self.value = value
        }

        func isSame(_ other: [UInt8]) -> Bool {
            bytes.withUnsafeBytes { mine in
                other.withUnsafeBytes { theirs in
                    mine.count == theirs.count
                        && (mine.baseAddress == theirs.baseAddress
                            || memcmp(mine.baseAddress!, theirs.baseAddress!, mine.count) == 0)
                }
            }
        }
    }
}
