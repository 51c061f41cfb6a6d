import Glibc
package import Sharding

/// A value that one column can be read as.
@usableFromInline
package protocol PostgresDecodable: RowDecodable {
    /// Reads a value that may be NULL; throws ``DatabaseError/decoding(_:)`` if the column has another type.
    init(postgres value: PostgresValue) throws(DatabaseError)
}

extension PostgresDecodable {
    @usableFromInline
    package init(row: inout Row) throws(DatabaseError) {
        self = try row.next()
    }
}

extension Optional: RowDecodable where Wrapped: PostgresDecodable {}

extension Optional: PostgresDecodable where Wrapped: PostgresDecodable {
    @usableFromInline
    package init(postgres value: PostgresValue) throws(DatabaseError) {
        self = value.isNull ? nil : try Wrapped(postgres: value)
    }
}

extension Array: RowDecodable where Element: PostgresArrayElement {}

extension Array: PostgresDecodable where Element: PostgresArrayElement {
    @usableFromInline
    package init(postgres value: PostgresValue) throws(DatabaseError) {
        self = try Element.decodeArray(value)
    }
}

extension Bool: PostgresDecodable {
    @usableFromInline
    package init(postgres value: PostgresValue) throws(DatabaseError) {
        try value.check(.bool, Bool.self)
        self = try value.integer(UInt8.self) != 0
    }
}

extension Int16: PostgresDecodable {
    @usableFromInline
    package init(postgres value: PostgresValue) throws(DatabaseError) {
        try value.check(.int2, Int16.self)
        self = try value.integer()
    }
}

extension Int32: PostgresDecodable {
    @usableFromInline
    package init(postgres value: PostgresValue) throws(DatabaseError) {
        switch value.type {
        case .int4: self = try value.integer()
        case .int2: self = Int32(try value.integer(Int16.self))
        default: throw value.mismatch(Int32.self)
        }
    }
}

/// Reads the narrower integers too.
extension Int64: PostgresDecodable {
    @usableFromInline
    package init(postgres value: PostgresValue) throws(DatabaseError) {
        switch value.type {
        case .int8: self = try value.integer()
        case .int4: self = Int64(try value.integer(Int32.self))
        case .int2: self = Int64(try value.integer(Int16.self))
        case .oidType: self = Int64(try value.integer(UInt32.self))
        default: throw value.mismatch(Int64.self)
        }
    }
}

extension Int: PostgresDecodable {
    @usableFromInline
    package init(postgres value: PostgresValue) throws(DatabaseError) {
        self = Int(try Int64(postgres: value))
    }
}

extension Double: PostgresDecodable {
    @usableFromInline
    package init(postgres value: PostgresValue) throws(DatabaseError) {
        switch value.type {
        case .float8: self = Double(bitPattern: try value.integer())
        case .float4: self = Double(Float(bitPattern: try value.integer()))
        default: throw value.mismatch(Double.self)
        }
    }
}

extension String: PostgresDecodable {
    @usableFromInline
    package init(postgres value: PostgresValue) throws(DatabaseError) {
        let utf8 = try value.text()
        var text = String(decoding: utf8, as: UTF8.self)
        // What is no UTF-8 has been replaced, so that the bytes differ; `String(validating:as:)` takes
        // several times as long.
        let isSame = text.withUTF8 { text in
            text.count == utf8.count
                && (utf8.isEmpty || memcmp(text.baseAddress!, utf8.baseAddress!, utf8.count) == 0)
        }
        guard isSame else { throw .decoding("column \(value.columnName) is no valid UTF-8") }
        self = text
    }
}

extension JSONText: PostgresDecodable {
    package init(postgres value: PostgresValue) throws(DatabaseError) {
        if value.isNull { throw value.mismatch(JSONText.self) }
        switch value.type {
        case .json:
            self.init(Array(value.bytes))
        case .jsonb:
            guard value.bytes.first == 1 else { throw .decoding("jsonb of an unknown version") }
            self.init(Array(value.bytes.dropFirst()))
        default:
            throw value.mismatch(JSONText.self)
        }
    }
}

extension Timestamp: PostgresDecodable {
    package init(postgres value: PostgresValue) throws(DatabaseError) {
        try value.check(.timestamptz, Timestamp.self)
        guard let time = Timestamp(since2000: try value.integer()) else {
            throw .decoding("column \(value.columnName) is infinite")
        }
        self = time
    }

    /// PostgreSQL's own count; nil for its infinities.
    @inline(__always)
    init?(since2000: Int64) {
        guard since2000 != .min, since2000 <= .max - Self.microsecondsTo2000 else { return nil }
        self.init(microseconds: since2000 + Self.microsecondsTo2000)
    }
}

extension BucketID: PostgresDecodable {
    package init(postgres value: PostgresValue) throws(DatabaseError) {
        let number = try Int16(postgres: value)
        guard let bucket = BucketID(rawValue: number) else {
            throw .decoding("column \(value.columnName): \(number) is no bucket")
        }
        self = bucket
    }
}

/// What a concrete id needs to conform: `extension UserID: PostgresDecodable {}`.
extension PostgresDecodable where Self: RoutedID {
    package init(postgres value: PostgresValue) throws(DatabaseError) {
        self.init(rawValue: try Int64(postgres: value))
    }
}
