import CLibmemcached
import Crypto
import Sharding

/// What a cache node holds; each kind of data has nodes of its own, sized and watched apart.
package enum CachePool: String, CaseIterable, Sendable {
    case feed
    case object
    case session
    /// What belongs to nodes of the others that do not answer, for a few seconds.
    case gutter
}

/// The name of one cached value, with the pool that it lives in.
///
/// Any text will do: names that memcached would refuse (too long, or with spaces and control bytes) are
/// replaced by their SHA-256, so that nothing a stranger typed can break the protocol.
package struct CacheKey: Hashable, Sendable, CustomStringConvertible {
    /// Longest name that is sent as it is; memcached takes 250 bytes, prefix included.
    package static let maximumNameBytes = 200

    package let pool: CachePool

    /// Printable ASCII or UTF-8 without spaces, at most ``maximumNameBytes`` bytes.
    package let name: String

    package init(_ pool: CachePool, _ name: String) {
        self.pool = pool
        self.name = CacheKey.isPlain(name) ? name : CacheKey.digest(of: name)
    }

    /// Which of the 1,024 slots the key falls into.
    package var slot: Int {
        var name = name
        return name.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) { text in
                Int(
                    memcached_generate_hash_value(
                        text.baseAddress,
                        text.count,
                        MEMCACHED_HASH_DEFAULT
                    )
                ) % PoolMap.slotCount
            }
        }
    }

    /// The name under which the value lies while its own node does not answer.
    var inGutter: CacheKey { CacheKey(.gutter, "\(pool.rawValue):\(name)") }

    package var description: String { "\(pool.rawValue):\(name)" }

    private static func isPlain(_ name: String) -> Bool {
        let bytes = name.utf8
        return !bytes.isEmpty && bytes.count <= maximumNameBytes
            && bytes.allSatisfy { $0 > 0x20 && $0 != 0x7F }
    }

    /// `#` and 64 hexadecimal digits.
    private static func digest(of name: String) -> String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = [UInt8(ascii: "#")]
        for byte in Digest.sha256(name) {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }
}
