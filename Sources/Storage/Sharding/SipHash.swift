/// SipHash-2-4 with a 128-bit key.
///
/// Placement depends on its results for ever, so the algorithm is written out and tested against the
/// vectors of its authors instead of being whatever a library's default is.
package struct SipHash: Sendable {
    private let k0: UInt64
    private let k1: UInt64

    package init(k0: UInt64, k1: UInt64) {
        self.k0 = k0
        self.k1 = k1
    }

    /// Hashes names and new users' keys into buckets. Never changed: rows lie where it put them.
    package static let buckets = SipHash(k0: 0x7465_7373_6572_612e, k1: 0x6275_636b_6574_2e31)

    /// Scores (bucket, shard) pairs for placement; changing it would only change new proposals.
    package static let placement = SipHash(k0: 0x7465_7373_6572_612e, k1: 0x7368_6172_642e_2e31)

    /// Guards stored maps against truncation and bit rot; no protection against an attacker.
    package static let checksum = SipHash(k0: 0x7465_7373_6572_612e, k1: 0x6368_6563_6b2e_2e31)

    package func hash(_ bytes: some Sequence<UInt8>) -> UInt64 {
        var state = State(k0: k0, k1: k1)
        var word: UInt64 = 0
        var length = 0
        for byte in bytes {
            word |= UInt64(byte) << UInt64(8 * (length & 7))
            length += 1
            if length & 7 == 0 {
                state.absorb(word)
                word = 0
            }
        }
        state.absorb(word | UInt64(length & 0xff) << 56)
        return state.finish()
    }

    private struct State {
        var v0: UInt64, v1: UInt64, v2: UInt64, v3: UInt64

        init(k0: UInt64, k1: UInt64) {
            v0 = k0 ^ 0x736f_6d65_7073_6575
            v1 = k1 ^ 0x646f_7261_6e64_6f6d
            v2 = k0 ^ 0x6c79_6765_6e65_7261
            v3 = k1 ^ 0x7465_6462_7974_6573
        }

        mutating func absorb(_ word: UInt64) {
            v3 ^= word
            round()
            round()
            v0 ^= word
        }

        mutating func finish() -> UInt64 {
            v2 ^= 0xff
            for _ in 0..<4 { round() }
            return v0 ^ v1 ^ v2 ^ v3
        }

        private mutating func round() {
            v0 &+= v1
            v1 = rotate(v1, 13) ^ v0
            v0 = rotate(v0, 32)
            v2 &+= v3
            v3 = rotate(v3, 16) ^ v2
            v0 &+= v3
            v3 = rotate(v3, 21) ^ v0
            v2 &+= v1
            v1 = rotate(v1, 17) ^ v2
            v2 = rotate(v2, 32)
        }

        private func rotate(_ value: UInt64, _ by: UInt64) -> UInt64 {
            value << by | value >> (64 - by)
        }
    }
}
