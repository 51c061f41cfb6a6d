/// The name that a cluster draws at its first `shardctl init`, kept in etcd and by every shard: so that nobody takes
/// another cluster's data for its own.
package struct ClusterID: Hashable, Sendable, CustomStringConvertible {
    /// 32 hexadecimal digits.
    package let text: String

    package init?(_ text: some StringProtocol) {
        guard text.utf8.count == 32, text.utf8.allSatisfy(Self.isDigit) else { return nil }
        self.text = String(text)
    }

    package static func drawn(using random: inout some RandomNumberGenerator) -> ClusterID {
        let digits = (0..<32).map { _ in
            String(Int.random(in: 0..<16, using: &random), radix: 16)
        }
        return ClusterID(digits.joined())!
    }

    /// As people see it: enough to tell two clusters apart.
    package var description: String { String(text.prefix(8)) }

    private static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
    }
}
