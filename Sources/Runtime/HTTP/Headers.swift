/// Header fields in the order they were added; names are compared without regard to case.
///
/// A value can carry no CR, LF, NUL or other control character: each is replaced by a space when it is
/// set, so that no input can split a header block. Names are written by programmers and must be tokens.
package struct Headers: Sendable, Equatable, ExpressibleByDictionaryLiteral {
    package struct Field: Sendable, Equatable {
        package let name: String
        package let value: String
    }

    package private(set) var fields: [Field] = []

    package init() {}

    /// One field whose name is known to be a token.
    init(trusted name: String, _ value: String) {
        fields = [Field(name: name, value: Headers.harmless(value))]
    }

    package init(dictionaryLiteral elements: (String, String)...) {
        fields.reserveCapacity(elements.count)
        for (name, value) in elements { add(name, value) }
    }

    /// The first value of this name; setting replaces all of them, and nil removes them.
    package subscript(_ name: String) -> String? {
        get { fields.first { $0.name.equalsIgnoringCase(name) }?.value }
        set {
            fields.removeAll { $0.name.equalsIgnoringCase(name) }
            if let newValue { add(name, newValue) }
        }
    }

    /// Adds one more field, beside those of the same name.
    package mutating func add(_ name: String, _ value: String) {
        precondition(name.isToken, "not a header name: \(name)")
        fields.append(Field(name: name, value: Headers.harmless(value)))
    }

    package func all(_ name: String) -> [String] {
        fields.filter { $0.name.equalsIgnoringCase(name) }.map(\.value)
    }

    package func has(_ name: String) -> Bool {
        fields.contains { $0.name.equalsIgnoringCase(name) }
    }

    private static func harmless(_ value: String) -> String {
        var copy = value
        let isClean = copy.withUTF8 { bytes in
            for byte in bytes where byte < 0x20 && byte != 0x09 || byte == 0x7F { return false }
            return true
        }
        if isClean { return value }
        let cleaned = value.utf8.map { $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 ? $0 : 0x20 }
        return String(decoding: cleaned, as: UTF8.self)
    }
}
