/// A JSON document as bytes, for `json` and `jsonb` columns.
package struct JSONText: Hashable, Sendable {
    package let bytes: [UInt8]

    package init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    package init(_ text: String) {
        bytes = Array(text.utf8)
    }
}
