internal import CLibpq
package import Sharding

/// A value that a whole row can be read as, column after column.
package protocol RowDecodable: Sendable {
    init(row: inout Row) throws(DatabaseError)
}

/// One row while it is being read, in column order.
///
/// Lent to a decoder for one call; it does not outlive its ``Rows``.
package struct Row: ~Copyable {
    private let result: OpaquePointer
    private let row: Int32
    private let columns: Int32
    private var column: Int32 = 0

    fileprivate init(_ result: OpaquePointer, row: Int32, columns: Int32) {
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
    private mutating func nextValue() throws(DatabaseError) -> PostgresValue {
        guard column < columns else { throw .decoding("the row has only \(columns) columns") }
        defer { column += 1 }
        return PostgresValue(result, row: row, column: column)
    }
}

/// The answer to one statement.
package struct Rows: Sendable {
    private let result: ResultOwner

    init(_ result: ResultOwner) {
        self.result = result
    }

    /// How many rows came back.
    package var count: Int { Int(PQntuples(result.pointer)) }

    package var isEmpty: Bool { count == 0 }

    /// How many rows the statement inserted, updated, deleted or selected.
    package var affected: Int {
        guard let text = PQcmdTuples(result.pointer) else { return 0 }
        return Int(String(cString: text)) ?? 0
    }

    /// The columns' names, for tools.
    package var columnNames: [String] {
        (0..<PQnfields(result.pointer)).map { String(cString: PQfname(result.pointer, $0)) }
    }

    package func decode<T: RowDecodable>(as _: T.Type = T.self) throws(DatabaseError) -> [T] {
        try map { (row) throws(DatabaseError) in try T(row: &row) }
    }

    @_disfavoredOverload
    package func decode<ID: RoutedID>(as _: ID.Type = ID.self) throws(DatabaseError) -> [ID] {
        try map { (row) throws(DatabaseError) in try row.next(ID.self) }
    }

    /// The first row, if there is one.
    package func first<T: RowDecodable>(as _: T.Type = T.self) throws(DatabaseError) -> T? {
        isEmpty ? nil : try read(0) { (row) throws(DatabaseError) in try T(row: &row) }
    }

    @_disfavoredOverload
    package func first<ID: RoutedID>(as _: ID.Type = ID.self) throws(DatabaseError) -> ID? {
        isEmpty ? nil : try read(0) { (row) throws(DatabaseError) in try row.next(ID.self) }
    }

    /// Reads every row with `body`.
    package func map<T>(
        _ body: (inout Row) throws(DatabaseError) -> T
    ) throws(DatabaseError) -> [T] {
        let count = self.count
        let columns = PQnfields(result.pointer)
        var values: [T] = []
        values.reserveCapacity(count)
        for index in 0..<count {
            var row = Row(result.pointer, row: Int32(index), columns: columns)
            values.append(try body(&row))
        }
        return values
    }

    /// Reads the row at `index` with `body`.
    package func read<T>(
        _ index: Int,
        _ body: (inout Row) throws(DatabaseError) -> T
    ) throws(DatabaseError) -> T {
        precondition(index >= 0 && index < count, "row \(index) of \(count)")
        var row = Row(result.pointer, row: Int32(index), columns: PQnfields(result.pointer))
        return try body(&row)
    }
}

/// Owns one `PGresult`.
final class ResultOwner: @unchecked Sendable {
    // @unchecked: libpq never changes a result once it has been handed out, so threads may share it.
    let pointer: OpaquePointer

    init(_ pointer: OpaquePointer) {
        self.pointer = pointer
    }

    deinit {
        PQclear(pointer)
    }
}
