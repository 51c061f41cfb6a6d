import Database
import Logging
import Metrics
import Postgres
import ServiceKit
import Settings
import Sharding

/// Whether the shards answer, and whether their schemas are those that this node was built for.
///
/// A shard that is down when the node starts is checked when it comes back: until then it serves nothing, so
/// that nothing can go wrong on it.
struct ShardChecks: Sendable {
    let database: Database
    let schemas: [SchemaRequirement]

    /// Throws for the first shard that lacks a migration; answers the shards that did not answer.
    func checkSchemas() async throws -> [ShardID] {
        try silent(among: await newestMigrations())
    }

    private func newestMigrations() async -> [ShardAnswer<NewestMigration>] {
        await database.eachShard(
            "SELECT module, max(number)::bigint FROM control.migration GROUP BY module"
        )
    }

    // Apart from the waiting: with this loop in an async function the optimizer of Swift 6.3.1 crashes.
    private func silent(
        among answers: [ShardAnswer<NewestMigration>]
    ) throws(SettingsError) -> [ShardID] {
        var silent: [ShardID] = []
        for answer in answers {
            switch answer.result {
            case .success(let rows): try check(answer.shard, rows)
            case .failure(.unavailable), .failure(.timeout), .failure(.overloaded):
                silent.append(answer.shard)
            case .failure(let error):
                throw SettingsError(
                    "shard \(answer.shard) cannot be asked for its schema: \(error)"
                )
            }
        }
        return silent
    }

    private func check(_ shard: ShardID, _ rows: [NewestMigration]) throws(SettingsError) {
        let newest = Dictionary(rows.map { ($0.module, $0.number) }, uniquingKeysWith: max)
        let missing = schemas.filter { newest[$0.module, default: 0] < $0.number }
        guard !missing.isEmpty else { return }
        let list = missing.map { "\($0.module) \($0.number)" }.sorted().joined(separator: ", ")
        throw SettingsError(
            "shard \(shard) lacks migrations that this version needs (\(list)): run shardctl migrate"
        )
    }

    /// Which shards answer now.
    func answering() async -> [(shard: ShardID, isUp: Bool)] {
        let answers: [ShardAnswer<Int>] = await database.eachShard("SELECT 1::bigint")
        return answers.map { answer in
            if case .success = answer.result { (answer.shard, true) } else { (answer.shard, false) }
        }
    }
}

private struct NewestMigration: RowDecodable {
    let module: String
    let number: Int

    init(row: inout Row) throws(DatabaseError) {
        module = try row.next()
        number = try row.next()
    }
}
