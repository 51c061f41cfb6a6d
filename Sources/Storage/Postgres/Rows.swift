internal import CLibpq
package import Sharding

/// A value that a whole row can be read as, column after column.
@usableFromInline
package protocol RowDecodable: Sendable {
    init(row: inout Row) throws(DatabaseError)
}

/// The answer to one statement.
@usableFromInline
package struct Rows: Sendable {
    private let result: ResultOwner

    init(_ result: ResultOwner) {
        self.result = result
    }

    /// How many rows came back.
    @usableFromInline
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

    @inlinable
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
    @inlinable
    package func map<T>(
        _ body: (inout Row) throws(DatabaseError) -> T
    ) throws(DatabaseError) -> [T] {
        var values: [T] = []
        values.reserveCapacity(count)
        try forEach { (row) throws(DatabaseError) in values.append(try body(&row)) }
        return values
    }

    /// Lends every row to `body`: for what is written on at once and needs no values in between.
    @inlinable
    package func forEach(
        _ body: (inout Row) throws(DatabaseError) -> Void
    ) throws(DatabaseError) {
        for index in 0..<count {
            var row = row(at: index)
            try body(&row)
        }
    }

    @usableFromInline
    func row(at index: Int) -> Row {
        Row(result.pointer, row: Int32(index), columns: PQnfields(result.pointer))
    }

    /// Reads the row at `index` with `body`.
    package func read<T>(
        _ index: Int,
        _ body: (inout Row) throws(DatabaseError) -> T
    ) throws(DatabaseError) -> T {
        precondition(index >= 0 && index < count, "row \(index) of \(count)")
        var row = row(at: index)
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
