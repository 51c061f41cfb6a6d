package import Sharding

/// A value that may stand in a statement as `\(value)`.
package protocol PostgresBindable: Sendable {
    static var postgresType: PostgresType { get }

    /// Appends the binary form; false for NULL, which appends nothing.
    func encode(into bindings: inout Bindings) -> Bool
}

/// A value that may stand in an array parameter or be read from an array column.
///
/// Separate from ``PostgresBindable`` because of `UInt8`: an array of it is a `bytea`, no array.
package protocol PostgresArrayElement: Sendable {
    static var elementType: PostgresType { get }
    static var arrayType: PostgresType { get }

    func encodeElement(into bindings: inout Bindings) -> Bool
    static func encodeArray(_ array: [Self], into bindings: inout Bindings)
    static func decodeArray(_ value: PostgresValue) throws(DatabaseError) -> [Self]
    static func decodeElement(_ value: PostgresValue) throws(DatabaseError) -> Self
}

extension PostgresArrayElement {
    package static func encodeArray(_ array: [Self], into bindings: inout Bindings) {
        bindings.write(array: array)
    }

    package static func decodeArray(_ value: PostgresValue) throws(DatabaseError) -> [Self] {
        try value.array()
    }
}

extension PostgresArrayElement where Self: PostgresBindable & PostgresDecodable {
    package static var elementType: PostgresType { postgresType }

    package func encodeElement(into bindings: inout Bindings) -> Bool { encode(into: &bindings) }

    package static func decodeElement(_ value: PostgresValue) throws(DatabaseError) -> Self {
        try Self(postgres: value)
    }
}

extension Optional: PostgresBindable where Wrapped: PostgresBindable {
    package static var postgresType: PostgresType { Wrapped.postgresType }

    package func encode(into bindings: inout Bindings) -> Bool {
        self?.encode(into: &bindings) ?? false
    }
}

extension Optional: PostgresArrayElement where Wrapped: PostgresArrayElement {
    package static var elementType: PostgresType { Wrapped.elementType }
    package static var arrayType: PostgresType { Wrapped.arrayType }

    package func encodeElement(into bindings: inout Bindings) -> Bool {
        self?.encodeElement(into: &bindings) ?? false
    }

    package static func decodeElement(_ value: PostgresValue) throws(DatabaseError) -> Self {
        value.isNull ? nil : try Wrapped.decodeElement(value)
    }
}

extension Array: PostgresBindable where Element: PostgresArrayElement {
    package static var postgresType: PostgresType { Element.arrayType }

    package func encode(into bindings: inout Bindings) -> Bool {
        Element.encodeArray(self, into: &bindings)
        return true
    }
}

/// `[UInt8]` is a `bytea`.
extension UInt8: PostgresArrayElement {
    package static var elementType: PostgresType { .char }
    package static var arrayType: PostgresType { .bytea }

    package func encodeElement(into bindings: inout Bindings) -> Bool {
        bindings.write(self)
        return true
    }

    package static func encodeArray(_ array: [UInt8], into bindings: inout Bindings) {
        bindings.write(array)
    }

    package static func decodeArray(_ value: PostgresValue) throws(DatabaseError) -> [UInt8] {
        try value.check(.bytea, [UInt8].self)
        return Array(value.bytes)
    }

    package static func decodeElement(_ value: PostgresValue) throws(DatabaseError) -> UInt8 {
        throw value.mismatch(UInt8.self)
    }
}

/// `[[UInt8]]` is a `bytea[]`.
extension Array: PostgresArrayElement where Element == UInt8 {
    package static var elementType: PostgresType { .bytea }
    package static var arrayType: PostgresType { .byteaArray }

    package func encodeElement(into bindings: inout Bindings) -> Bool {
        bindings.write(self)
        return true
    }

    package static func decodeElement(_ value: PostgresValue) throws(DatabaseError) -> [UInt8] {
        try UInt8.decodeArray(value)
    }
}

extension Bool: PostgresBindable, PostgresArrayElement {
    package static var postgresType: PostgresType { .bool }
    package static var arrayType: PostgresType { .boolArray }

    package func encode(into bindings: inout Bindings) -> Bool {
        bindings.write(UInt8(self ? 1 : 0))
        return true
    }
}

extension Int16: PostgresBindable, PostgresArrayElement {
    package static var postgresType: PostgresType { .int2 }
    package static var arrayType: PostgresType { .int2Array }

    package func encode(into bindings: inout Bindings) -> Bool {
        bindings.write(self)
        return true
    }
}

extension Int32: PostgresBindable, PostgresArrayElement {
    package static var postgresType: PostgresType { .int4 }
    package static var arrayType: PostgresType { .int4Array }

    package func encode(into bindings: inout Bindings) -> Bool {
        bindings.write(self)
        return true
    }
}

extension Int64: PostgresBindable, PostgresArrayElement {
    package static var postgresType: PostgresType { .int8 }
    package static var arrayType: PostgresType { .int8Array }

    package func encode(into bindings: inout Bindings) -> Bool {
        bindings.write(self)
        return true
    }
}

extension Int: PostgresBindable, PostgresArrayElement {
    package static var postgresType: PostgresType { .int8 }
    package static var arrayType: PostgresType { .int8Array }

    package func encode(into bindings: inout Bindings) -> Bool {
        bindings.write(Int64(self))
        return true
    }
}

extension Double: PostgresBindable, PostgresArrayElement {
    package static var postgresType: PostgresType { .float8 }
    package static var arrayType: PostgresType { .float8Array }

    package func encode(into bindings: inout Bindings) -> Bool {
        bindings.write(bitPattern)
        return true
    }
}

extension String: PostgresBindable, PostgresArrayElement {
    package static var postgresType: PostgresType { .text }
    package static var arrayType: PostgresType { .textArray }

    package func encode(into bindings: inout Bindings) -> Bool {
        bindings.write(text: self)
        return true
    }
}

/// A `jsonb`, whose binary form is a version byte and the text.
extension JSONText: PostgresBindable, PostgresArrayElement {
    package static var postgresType: PostgresType { .jsonb }
    package static var arrayType: PostgresType { .jsonbArray }

    package func encode(into bindings: inout Bindings) -> Bool {
        bindings.write(UInt8(1))
        bindings.write(bytes)
        return true
    }
}

/// A `timestamptz`, which counts from the year 2000.
extension Timestamp: PostgresBindable, PostgresArrayElement {
    static let microsecondsTo2000: Int64 = 946_684_800_000_000

    package static var postgresType: PostgresType { .timestamptz }
    package static var arrayType: PostgresType { .timestamptzArray }

    package func encode(into bindings: inout Bindings) -> Bool {
        bindings.write(microseconds - Self.microsecondsTo2000)
        return true
    }
}

extension BucketID: PostgresBindable, PostgresArrayElement {
    package static var postgresType: PostgresType { .int2 }
    package static var arrayType: PostgresType { .int2Array }

    package func encode(into bindings: inout Bindings) -> Bool {
        bindings.write(rawValue)
        return true
    }
}

/// What a concrete id needs to conform: `extension UserID: PostgresBindable {}`.
extension PostgresBindable where Self: RoutedID {
    package static var postgresType: PostgresType { .int8 }

    package func encode(into bindings: inout Bindings) -> Bool {
        bindings.write(rawValue)
        return true
    }
}
