import CCrypto

/// SHA-256 and what is built on it.
package enum Digest {
    /// SHA-256, 32 bytes.
    package static func sha256(_ message: some Collection<UInt8>) -> [UInt8] {
        let message = Array(message)
        return [UInt8](unsafeUninitializedCapacity: 32) { buffer, initialised in
            precondition(SHA256(message, message.count, buffer.baseAddress) != nil, "SHA256 failed")
            initialised = 32
        }
    }

    package static func sha256(_ text: String) -> [UInt8] { sha256(text.utf8) }

    /// SHA-1, 20 bytes: for protocols that name it, where nothing has to be secure.
    package static func sha1(_ message: some Collection<UInt8>) -> [UInt8] {
        let message = Array(message)
        return [UInt8](unsafeUninitializedCapacity: 20) { buffer, initialised in
            precondition(SHA1(message, message.count, buffer.baseAddress) != nil, "SHA1 failed")
            initialised = 20
        }
    }

    /// HMAC-SHA-256, 32 bytes.
    package static func hmac(_ message: some Collection<UInt8>, key: [UInt8]) -> [UInt8] {
        let message = Array(message)
        return [UInt8](unsafeUninitializedCapacity: 32) { buffer, initialised in
            var length: UInt32 = 0
            let result = HMAC(
                EVP_sha256(),
                key,
                Int32(key.count),
                message,
                message.count,
                buffer.baseAddress,
                &length
            )
            precondition(result != nil && length == 32, "HMAC failed")
            initialised = 32
        }
    }

    /// Compares secrets in a time that depends on their length only.
    package static func equal(_ a: [UInt8], _ b: [UInt8]) -> Bool {
        a.count == b.count && CRYPTO_memcmp(a, b, a.count) == 0
    }
}
