import EventLoops
import Postgres
import TestSupport

typealias Answer = Result<Rows, DatabaseError>

extension Result {
    var error: Failure? {
        if case .failure(let error) = self { error } else { nil }
    }
}

extension Answer {
    /// The first row's first column; nil after a failure.
    var integer: Int? {
        if case .success(let rows) = self { try? rows.first(as: Int.self) } else { nil }
    }
}

extension PostgresPool {
    /// The first row's first column.
    func one(_ sql: SQL) async throws -> Int? { try await read(sql).first(as: Int.self) }
}

/// Runs `body` with a pool on a loop of its own, for a new database on `server` or the shared one.
func withPool(
    on server: PostgresServer? = nil,
    _ adjust: @escaping @Sendable (inout PostgresSettings) -> Void = { _ in },
    _ body: @escaping @Sendable (PostgresPool) async throws -> Void
) async throws {
    let chosen: PostgresServer
    if let server { chosen = server } else { chosen = try await .shared() }
    let database = try await chosen.newDatabase()
    try await withLoop { loop in
        var settings = PostgresSettings(
            hosts: [.init(name: chosen.host, port: UInt16(chosen.port))],
            database: database,
            user: chosen.superuser,
            password: chosen.password,
            applicationName: database
        )
        settings.statementTimeout = .seconds(20)
        settings.acquireTimeout = .seconds(20)
        adjust(&settings)
        let pool = PostgresPool(loop: loop, settings: settings)
        do {
            try await body(pool)
        } catch {
            await pool.close()
            throw error
        }
        await pool.close()
    }
}

/// Makes `count` statements and reads them in one turn of the loop; the results come in order.
func readTogether(
    _ pool: PostgresPool,
    _ count: Int,
    _ statement: @escaping @Sendable (Int) -> SQL
) async -> [Answer] {
    await together(count) { index in
        try await pool.read(statement(index))
    }
}

/// Starts `count` operations in one turn of the loop and returns their results in order.
///
/// Untyped throws, because an optimised Swift 6.3.1 loses the index of a child task beside a typed error.
func together(
    _ count: Int,
    _ body: @escaping @Sendable (Int) async throws -> Rows
) async -> [Answer] {
    await withTaskGroup(of: (Int, Answer).self) { group in
        for index in 0..<count {
            group.addTask {
                do {
                    return (index, .success(try await body(index)))
                } catch let error as DatabaseError {
                    return (index, .failure(error))
                } catch {
                    return (index, .failure(.decoding("not a database error: \(error)")))
                }
            }
        }
        var answers = [Answer?](repeating: nil, count: count)
        for await (index, answer) in group { answers[index] = answer }
        return answers.map { $0! }
    }
}
