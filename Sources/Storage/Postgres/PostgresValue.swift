internal import CLibpq

/// One value of a result, in PostgreSQL's binary format; valid while its row is being read.
@usableFromInline
package struct PostgresValue {
    package let type: PostgresType
    package let isNull: Bool
    /// Points into the result, which ``Rows`` keeps alive for as long as one of its rows is being read.
    package let bytes: UnsafeRawBufferPointer
    private let result: OpaquePointer
    private let column: Int32

    @inline(__always)
    init(_ result: OpaquePointer, row: Int32, column: Int32) {
        self.result = result
        self.column = column
        type = PostgresType(oid: PQftype(result, column))
        let length = PQgetlength(result, row, column)
        bytes = UnsafeRawBufferPointer(
            start: PQgetvalue(result, row, column),
            count: Int(length)
        )
        isNull = length == 0 && PQgetisnull(result, row, column) != 0
    }

    /// An element of an array value.
    private init(
        element type: PostgresType,
        bytes: UnsafeRawBufferPointer?,
        of array: PostgresValue
    ) {
        self.type = type
        isNull = bytes == nil
        self.bytes = bytes ?? UnsafeRawBufferPointer(start: nil, count: 0)
        result = array.result
        column = array.column
    }

    package var columnName: String {
        PQfname(result, column).map { String(cString: $0) } ?? String(column)
    }

    package func mismatch<T>(_ wanted: T.Type) -> DatabaseError {
        .decoding(
            isNull
                ? "column \(columnName) is NULL, wanted \(wanted)"
                : "column \(columnName) has type \(type.oid), wanted \(wanted)"
        )
    }

    @inline(__always)
    func check<T>(_ expected: PostgresType, _ wanted: T.Type) throws(DatabaseError) {
        if type != expected || isNull { throw mismatch(wanted) }
    }

    @inline(__always)
    func integer<T: FixedWidthInteger>(_: T.Type = T.self) throws(DatabaseError) -> T {
        guard bytes.count == MemoryLayout<T>.size else { throw mismatch(T.self) }
        return T(bigEndian: bytes.loadUnaligned(as: T.self))
    }

    /// The bytes of a text.
    func text() throws(DatabaseError) -> UnsafeBufferPointer<UInt8> {
        switch type {
        case .text, .varchar, .bpchar, .name, .json, .unknown: break
        default: throw mismatch(String.self)
        }
        if isNull { throw mismatch(String.self) }
        return bytes.bindMemory(to: UInt8.self)
    }

    func array<Element: PostgresArrayElement>() throws(DatabaseError) -> [Element] {
        if isNull { throw mismatch([Element].self) }
        var rest = bytes
        let dimensions = try take(Int32.self, from: &rest)
        _ = try take(Int32.self, from: &rest)
        let elementType = PostgresType(oid: try take(UInt32.self, from: &rest))
        guard dimensions > 0 else {
            guard elementType == Element.elementType else { throw mismatch([Element].self) }
            return []
        }
        guard dimensions == 1 else {
            throw .decoding("column \(columnName) has \(dimensions) dimensions")
        }
        let count = Int(try take(Int32.self, from: &rest))
        _ = try take(Int32.self, from: &rest)
        guard count >= 0, count <= rest.count / 4 else { throw mismatch([Element].self) }
        var array: [Element] = []
        array.reserveCapacity(count)
        for _ in 0..<count {
            let length = Int(try take(Int32.self, from: &rest))
            guard length <= rest.count else { throw mismatch([Element].self) }
            let body = length < 0 ? nil : UnsafeRawBufferPointer(rebasing: rest[..<length])
            if length > 0 { rest = UnsafeRawBufferPointer(rebasing: rest[length...]) }
            let element = PostgresValue(element: elementType, bytes: body, of: self)
            array.append(try Element.decodeElement(element))
        }
        return array
    }

    private func take<T: FixedWidthInteger>(
        _: T.Type,
        from rest: inout UnsafeRawBufferPointer
    ) throws(DatabaseError) -> T {
        let size = MemoryLayout<T>.size
        guard rest.count >= size else { throw mismatch([T].self) }
        let value = T(bigEndian: rest.loadUnaligned(as: T.self))
        rest = UnsafeRawBufferPointer(rebasing: rest[size...])
        return value
    }
}
