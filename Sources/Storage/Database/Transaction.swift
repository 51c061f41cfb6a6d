package import Postgres
package import Sharding

/// One open, fenced transaction; touched on its loop only, inside the body it was given to.
package final class Transaction: @unchecked Sendable {
    // @unchecked: touched on its loop only.
    private let inner: PostgresTransaction
    private var fence: SQL?

    init(_ inner: PostgresTransaction, fence: SQL) {
        self.inner = inner
        self.fence = fence
    }

    /// Runs one statement.
    @discardableResult
    package func query(_ sql: SQL) async throws(DatabaseError) -> Rows {
        guard let fence = fence.take() else { return try await inner.query(sql) }
        return try await inner.query([fence, sql])[1]
    }

    /// Runs several statements in one round trip.
    @discardableResult
    package func query(_ statements: [SQL]) async throws(DatabaseError) -> [Rows] {
        guard let fence = fence.take() else { return try await inner.query(statements) }
        return try await Array(inner.query([fence] + statements).dropFirst())
    }

    package func rows<T: RowDecodable>(_ sql: SQL) async throws(DatabaseError) -> [T] {
        try await query(sql).decode()
    }

    @_disfavoredOverload
    package func rows<ID: RoutedID>(_ sql: SQL) async throws(DatabaseError) -> [ID] {
        try await query(sql).decode()
    }

    /// The first row, if there is one.
    package func row<T: RowDecodable>(_ sql: SQL) async throws(DatabaseError) -> T? {
        try await query(sql).first()
    }

    @_disfavoredOverload
    package func row<ID: RoutedID>(_ sql: SQL) async throws(DatabaseError) -> ID? {
        try await query(sql).first()
    }
}
