/// The values of a statement in PostgreSQL's binary format, one after another in one buffer.
package struct Bindings: Sendable {
    /// One parameter: where its bytes are, and where its placeholder is in the statement's text.
    struct Spec: Sendable {
        let type: PostgresType
        let textOffset: UInt32
        let start: Int32
        /// -1 for NULL.
        let length: Int32
    }

    /// PostgreSQL's own bound: the wire carries the count in 16 bits.
    package static let limit = 65_535

    private(set) var specs: [Spec] = []
    private(set) var bytes: [UInt8] = []
    /// Text with a NUL in it, which no PostgreSQL text can hold; refused before it is sent.
    private(set) var hasNUL = false
    var nextTextOffset: UInt32 = 0

    package var count: Int { specs.count }

    mutating func reserve(_ count: Int) {
        specs.reserveCapacity(count)
        bytes.reserveCapacity(count * 8)
    }

    mutating func append(_ value: some PostgresBindable) {
        let start = bytes.count
        let isNull = !value.encode(into: &self)
        specs.append(
            Spec(
                type: type(of: value).postgresType,
                textOffset: nextTextOffset,
                start: Int32(start),
                length: isNull ? -1 : Int32(bytes.count - start)
            )
        )
    }

    mutating func copy(_ index: Int, of other: Bindings) {
        let spec = other.specs[index]
        let start = bytes.count
        if spec.length > 0 {
            bytes += other.bytes[Int(spec.start)..<Int(spec.start + spec.length)]
        }
        specs.append(
            Spec(
                type: spec.type,
                textOffset: nextTextOffset,
                start: Int32(start),
                length: spec.length
            )
        )
        hasNUL = hasNUL || other.hasNUL
    }

    // MARK: Encoding

    package mutating func write(_ value: some FixedWidthInteger) {
        withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
    }

    package mutating func write(_ raw: some Collection<UInt8>) {
        bytes.append(contentsOf: raw)
    }

    package mutating func write(text: String) {
        var text = text
        text.withUTF8 { utf8 in
            hasNUL = hasNUL || utf8.contains(0)
            bytes.append(contentsOf: utf8)
        }
    }

    /// An array of one dimension; PostgreSQL writes each element with its length in front.
    mutating func write<Element: PostgresArrayElement>(array: [Element]) {
        write(Int32(array.isEmpty ? 0 : 1))
        let flags = bytes.count
        write(Int32(0))
        write(Element.elementType.oid)
        if !array.isEmpty {
            write(Int32(array.count))
            write(Int32(1))
        }
        for element in array {
            let length = bytes.count
            write(Int32(-1))
            if element.encodeElement(into: &self) {
                patch(Int32(bytes.count - length - 4), at: length)
            } else {
                patch(Int32(1), at: flags)
            }
        }
    }

    private mutating func patch(_ value: Int32, at offset: Int) {
        withUnsafeBytes(of: value.bigEndian) { source in
            for index in 0..<4 { bytes[offset + index] = source[index] }
        }
    }
}

/// A type of PostgreSQL, by its fixed number in `pg_type`.
package struct PostgresType: Hashable, Sendable {
    package let oid: UInt32

    package static let bool = PostgresType(oid: 16)
    package static let bytea = PostgresType(oid: 17)
    package static let char = PostgresType(oid: 18)
    package static let name = PostgresType(oid: 19)
    package static let int8 = PostgresType(oid: 20)
    package static let int2 = PostgresType(oid: 21)
    package static let int4 = PostgresType(oid: 23)
    package static let text = PostgresType(oid: 25)
    package static let oidType = PostgresType(oid: 26)
    package static let json = PostgresType(oid: 114)
    package static let float4 = PostgresType(oid: 700)
    package static let float8 = PostgresType(oid: 701)
    package static let unknown = PostgresType(oid: 705)
    package static let boolArray = PostgresType(oid: 1000)
    package static let byteaArray = PostgresType(oid: 1001)
    package static let int2Array = PostgresType(oid: 1005)
    package static let int4Array = PostgresType(oid: 1007)
    package static let textArray = PostgresType(oid: 1009)
    package static let int8Array = PostgresType(oid: 1016)
    package static let float8Array = PostgresType(oid: 1022)
    package static let bpchar = PostgresType(oid: 1042)
    package static let varchar = PostgresType(oid: 1043)
    package static let varcharArray = PostgresType(oid: 1015)
    package static let timestamptz = PostgresType(oid: 1184)
    package static let timestamptzArray = PostgresType(oid: 1185)
    package static let void = PostgresType(oid: 2278)
    package static let jsonb = PostgresType(oid: 3802)
    package static let jsonbArray = PostgresType(oid: 3807)
}
