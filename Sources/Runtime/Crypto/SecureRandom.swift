import CCrypto

/// Random bytes for secrets, from libcrypto's generator, which the kernel seeds.
package struct SecureRandom: RandomNumberGenerator, Sendable {
    package init() {}

    package mutating func next() -> UInt64 {
        Self.bytes(8).withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }
    }

    package static func bytes(_ count: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { buffer, initialised in
            // A machine without randomness must not go on: every secret depends on it.
            precondition(RAND_bytes(buffer.baseAddress, Int32(count)) == 1, "RAND_bytes failed")
            initialised = count
        }
    }

    /// `count` random bytes as base64url text.
    package static func text(_ count: Int) -> String {
        Base64URL.encode(bytes(count))
    }
}
