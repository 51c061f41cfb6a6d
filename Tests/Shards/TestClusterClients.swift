package import Database
package import EventLoops
import Postgres
package import Sharding
package import TestSupport

extension TestCluster {
    /// A client of one role on a loop; the caller closes it.
    package func database(on loop: EventLoop, as role: String) -> Database {
        var settings = DatabaseSettings(user: role, password: "\(role)-secret")
        settings.adjust = { pool in
            pool.statementTimeout = .seconds(20)
            pool.acquireTimeout = .seconds(20)
        }
        settings.refusalDeadline = .seconds(60)
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

    /// Runs SQL by psql on the shard of a key.
    @discardableResult
    package func psql(_ key: some Routed, _ sql: String) async throws -> String {
        try await shard(of: key.bucket).psql(sql)
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
