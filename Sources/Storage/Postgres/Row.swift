internal import CLibpq
package import Sharding

/// One row while it is being read, in column order.
///
/// Lent to a decoder for one call; it does not outlive its ``Rows``.
@usableFromInline
package struct Row: ~Copyable {
    private let result: OpaquePointer
    private let row: Int32
    private let columns: Int32
    private var column: Int32 = 0

    init(_ result: OpaquePointer, row: Int32, columns: Int32) {
        self.result = result
        self.row = row
        self.columns = columns
    }

    /// Reads the next column, whose type must be one that `T` is read from.
    @inline(__always)
    package mutating func next<T: PostgresDecodable>(
        _: T.Type = T.self
    ) throws(DatabaseError) -> T {
        try T(postgres: nextValue())
    }

    /// Reads the next column as an id.
    @_disfavoredOverload
    package mutating func next<ID: RoutedID>(_: ID.Type = ID.self) throws(DatabaseError) -> ID {
        ID(rawValue: try Int64(postgres: nextValue()))
    }

    /// Reads the next column as an id or NULL.
    @_disfavoredOverload
    package mutating func next<ID: RoutedID>(_: ID?.Type = ID?.self) throws(DatabaseError) -> ID? {
        try Int64?(postgres: nextValue()).map { ID(rawValue: $0) }
    }

    /// Reads the next column as ids.
    @_disfavoredOverload
    package mutating func next<ID: RoutedID>(_: [ID].Type = [ID].self) throws(DatabaseError) -> [ID]
    {
        try [Int64](postgres: nextValue()).map { ID(rawValue: $0) }
    }

    /// Leaves a column out.
    package mutating func skip() throws(DatabaseError) {
        _ = try nextValue()
    }

    @inline(__always)
    mutating func nextValue() throws(DatabaseError) -> PostgresValue {
        guard column < columns else { throw .decoding("the row has only \(columns) columns") }
        defer { column += 1 }
        return PostgresValue(result, row: row, column: column)
    }
}

// Overloads for the common types, which are compiled here for these types: a call of the generic one from
// another module looks the type up at run time.
extension Row {
    package mutating func next(_: Bool.Type = Bool.self) throws(DatabaseError) -> Bool {
        try Bool(postgres: nextValue())
    }

    package mutating func next(_: Bool?.Type = Bool?.self) throws(DatabaseError) -> Bool? {
        try Bool?(postgres: nextValue())
    }

    package mutating func next(_: Int16.Type = Int16.self) throws(DatabaseError) -> Int16 {
        try Int16(postgres: nextValue())
    }

    package mutating func next(_: Int16?.Type = Int16?.self) throws(DatabaseError) -> Int16? {
        try Int16?(postgres: nextValue())
    }

    package mutating func next(_: Int32.Type = Int32.self) throws(DatabaseError) -> Int32 {
        try Int32(postgres: nextValue())
    }

    package mutating func next(_: Int32?.Type = Int32?.self) throws(DatabaseError) -> Int32? {
        try Int32?(postgres: nextValue())
    }

    package mutating func next(_: Int64.Type = Int64.self) throws(DatabaseError) -> Int64 {
        guard let value = eightBytes(.int8) else { return try Int64(postgres: nextValue()) }
        column += 1
        return value
    }

    package mutating func next(_: Int64?.Type = Int64?.self) throws(DatabaseError) -> Int64? {
        try Int64?(postgres: nextValue())
    }

    package mutating func next(_: Int.Type = Int.self) throws(DatabaseError) -> Int {
        Int(try next(Int64.self))
    }

    package mutating func next(_: Int?.Type = Int?.self) throws(DatabaseError) -> Int? {
        try Int?(postgres: nextValue())
    }

    package mutating func next(_: String.Type = String.self) throws(DatabaseError) -> String {
        try String(postgres: nextValue())
    }

    package mutating func next(_: String?.Type = String?.self) throws(DatabaseError) -> String? {
        try String?(postgres: nextValue())
    }

    package mutating func next(_: Timestamp.Type = Timestamp.self) throws(DatabaseError)
        -> Timestamp
    {
        guard let since2000 = eightBytes(.timestamptz), let time = Timestamp(since2000: since2000)
        else { return try Timestamp(postgres: nextValue()) }
        column += 1
        return time
    }

    package mutating func next(_: Timestamp?.Type = Timestamp?.self) throws(DatabaseError)
        -> Timestamp?
    {
        try Timestamp?(postgres: nextValue())
    }

    /// Lends the bytes of the next column, which must be a text, to `body`.
    ///
    /// For what is written on at once. PostgreSQL has checked that they are UTF-8, this has not.
    @inlinable
    package mutating func text<T>(
        _ body: (UnsafeBufferPointer<UInt8>) throws(DatabaseError) -> T
    ) throws(DatabaseError) -> T {
        try body(nextText())
    }

    @usableFromInline
    mutating func nextText() throws(DatabaseError) -> UnsafeBufferPointer<UInt8> {
        if column < columns, PQftype(result, column) == PostgresType.text.oid,
            let bytes = UnsafeRawPointer(PQgetvalue(result, row, column))
        {
            let length = Int(PQgetlength(result, row, column))
            if length > 0 {
                column += 1
                return UnsafeBufferPointer(
                    start: bytes.assumingMemoryBound(to: UInt8.self),
                    count: length
                )
            }
        }
        return try nextValue().text()
    }

    /// The column that is next, if it has this type, whose values are eight bytes long, and is not NULL.
    @inline(__always)
    private func eightBytes(_ type: PostgresType) -> Int64? {
        guard column < columns, PQftype(result, column) == type.oid,
            PQgetlength(result, row, column) == 8,
            let bytes = UnsafeRawPointer(PQgetvalue(result, row, column))
        else { return nil }
        return Int64(bigEndian: bytes.loadUnaligned(as: Int64.self))
    }
}
