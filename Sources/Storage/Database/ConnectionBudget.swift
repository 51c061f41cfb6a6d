internal import Postgres
package import Sharding

/// How many connections a process opens to each shard, against what the shard has to give.
package struct ConnectionBudget: Sendable, Equatable {
    package let loops: Int
    package let perLoop: Int

    package init(loops: Int, settings: DatabaseSettings) {
        self.loops = loops
        perLoop = settings.connectionsPerShard
    }

    package var demand: Int { loops * perLoop }

    /// Why a process may not start: it would take more than a shard has left.
    package struct Exceeded: Error, Equatable, CustomStringConvertible {
        package let shard: ShardID
        package let demand: Int
        package let free: Int

        package var description: String {
            """
            \(shard) has \(free) connections left and this process would take \(demand): lower the number of \
            loops or raise max_connections
            """
        }
    }

    /// What one shard has left for processes that are not there yet.
    struct Room: RowDecodable {
        let free: Int

        init(row: inout Row) throws(DatabaseError) {
            free = try row.next(Int.self)
        }
    }

    static let room: SQL = """
        SELECT current_setting('max_connections')::bigint
            - current_setting('superuser_reserved_connections')::bigint
            - (
                SELECT count(*) FROM pg_stat_activity
                WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
            )
        """
}

extension Database {
    /// Throws ``ConnectionBudget/Exceeded`` for the first shard whose `max_connections` would be passed; a shard
    /// that does not answer is passed over, since the others must go on without it.
    package func check(_ budget: ConnectionBudget) async throws {
        let answers: [ShardAnswer<ConnectionBudget.Room>] = await eachShard(ConnectionBudget.room)
        for answer in answers {
            guard case .success(let rows) = answer.result, let room = rows.first else { continue }
            guard budget.demand <= room.free else {
                throw ConnectionBudget.Exceeded(
                    shard: answer.shard,
                    demand: budget.demand,
                    free: room.free
                )
            }
        }
    }
}
