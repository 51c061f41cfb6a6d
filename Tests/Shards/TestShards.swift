package import Database
package import EventLoops
import Postgres
package import Sharding
package import TestSupport

/// Some shards on the run's PostgreSQL, with a map that gives each its part of the buckets.
package struct TestShards: Sendable {
    package let shards: [TestShard]
    package let map: ShardMap

    /// Makes shards with the migrations of these modules, after those of `Database`.
    package static func make(_ count: Int, modules: [String]) async throws -> TestShards {
        var shards: [TestShard] = []
        for number in 1...count {
            shards.append(try await TestShard.make(id: "s\(number)", modules: modules))
        }
        let records = shards.map { shard in
            ShardRecord(
                id: ShardID(shard.id)!,
                members: [.init(host: shard.host, port: shard.port)],
                database: shard.database
            )
        }
        return TestShards(shards: shards, map: try Placement.firstMap(shards: records))
    }

    /// A database client of one role on a loop; the caller closes it.
    package func database(on loop: EventLoop, as role: String) -> Database {
        var settings = DatabaseSettings(user: role, password: "\(role)-secret")
        settings.adjust = { pool in
            pool.statementTimeout = .seconds(20)
            pool.acquireTimeout = .seconds(20)
        }
        return Database(loop: loop, map: map, settings: settings)
    }

    /// Runs `body` on a loop of its own with a client of each role.
    package func run<T: Sendable>(
        _ body: @escaping @Sendable (_ app: Database, _ worker: Database) async throws -> T
    ) async throws -> T {
        try await withLoop { loop in
            let app = database(on: loop, as: "app"), worker = database(on: loop, as: "worker")
            let result: Result<T, any Error>
            do {
                result = .success(try await body(app, worker))
            } catch {
                result = .failure(error)
            }
            await app.close()
            await worker.close()
            return try result.get()
        }
    }

    package func shard(of key: some Routed) -> TestShard {
        shards.first { $0.id == map[key.bucket].shard.name }!
    }

    /// Runs SQL by psql on the shard of a key.
    @discardableResult
    package func psql(_ key: some Routed, _ sql: String) async throws -> String {
        try await shard(of: key).psql(sql)
    }

    /// Runs SQL by psql on every shard and gives all lines.
    package func psqlOnEveryShard(_ sql: String) async throws -> [String] {
        var lines: [String] = []
        for shard in shards {
            lines += try await shard.psql(sql).split(separator: "\n").map(String.init)
        }
        return lines
    }
}
