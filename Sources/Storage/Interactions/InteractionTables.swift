package import Database
import Postgres
package import Sharding

/// Makes the tables of the days to come, and drops those of days that are over.
package struct InteractionTables: Sendable {
    /// Days for which tables are made in advance: a worker may be away for so long.
    package static let daysAhead: Int32 = 3

    private let database: Database

    package init(database: Database) {
        self.database = database
    }

    /// A day that was dropped.
    package struct DroppedDay: RowDecodable, Sendable, Equatable {
        /// As `2026-11-21`.
        package let day: String
        /// Whether hours of it had not been exported by then.
        package let isLost: Bool

        package init(row: inout Row) throws(DatabaseError) {
            day = try row.next()
            isLost = try row.next()
        }
    }

    /// Any number of workers may do so at once. With `exports`, a day stays until it is exported, for twice as long
    /// at most.
    package func keep(
        days: Int,
        exports: Bool,
        on shard: ShardID
    ) async throws(DatabaseError) -> [DroppedDay] {
        try await database.write(
            onShard: shard,
            ["SELECT interactions.prepare_days(\(Self.daysAhead)::integer)"]
        )
        let rows = try await database.write(
            onShard: shard,
            [
                """
                SELECT day::text, lost
                FROM interactions.drop_days(\(Int32(days))::integer, \(exports)::boolean)
                """
            ]
        )
        return try rows[0].decode()
    }
}
