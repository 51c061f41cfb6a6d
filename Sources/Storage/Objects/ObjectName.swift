/// The name of a stored object, such as `media/3f0c…-1/small.jpg`.
///
/// One to four parts of letters, digits, `-`, `_` and `.`, divided by `/`; no part begins with a dot. Nothing else
/// becomes a name, so no name leads out of the store's folder.
package struct ObjectName: Hashable, Sendable, CustomStringConvertible {
    package static let maximumBytes = 160
    package static let maximumParts = 4

    package let text: String

    package init?(_ text: String) {
        guard text.utf8.count <= ObjectName.maximumBytes else { return nil }
        let parts = text.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard parts.count <= ObjectName.maximumParts, parts.allSatisfy(ObjectName.isPart) else {
            return nil
        }
        self.text = text
    }

    package var description: String { text }

    /// The name as one file's name.
    var fileName: String {
        String(
            decoding: text.utf8.map { $0 == UInt8(ascii: "/") ? UInt8(ascii: "~") : $0 },
            as: UTF8.self
        )
    }

    /// Two folders of 256 each, drawn from the name, so that no folder grows large.
    var folders: (outer: String, inner: String) {
        let hash = text.utf8.reduce(0xCBF2_9CE4_8422_2325 as UInt64) {
            ($0 ^ UInt64($1)) &* 0x100_0000_01B3
        }
        return (ObjectName.hexadecimal(hash >> 40), ObjectName.hexadecimal(hash >> 32))
    }

    private static func hexadecimal(_ value: UInt64) -> String {
        let text = String(value & 0xFF, radix: 16)
        return text.utf8.count == 1 ? "0" + text : text
    }

    private static func isPart(_ part: Substring.UTF8View) -> Bool {
        guard let first = part.first, first != UInt8(ascii: ".") else { return false }
        return part.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"),
                UInt8(ascii: "."):
                true
            default: false
            }
        }
    }
}
