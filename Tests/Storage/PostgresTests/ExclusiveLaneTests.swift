import EventLoops
import Postgres
import TestSupport
import Testing

private struct Whim: Error {}

struct Transactions {
    @Test func `a body that returns commits, one that throws rolls back`() async throws {
        try await withPool { pool in
            _ = try await pool.write(["CREATE TABLE t (id bigint)"])

            let seen = try await pool.transaction { transaction in
                try await transaction.query("INSERT INTO t VALUES (\(1))")
                return try await transaction.query("SELECT count(*) FROM t").first(as: Int.self)
            }
            await #expect(throws: Whim.self) {
                try await pool.transaction { transaction in
                    try await transaction.query("INSERT INTO t VALUES (\(2))")
                    throw Whim()
                }
            }

            let count = try await pool.one("SELECT count(*) FROM t")
            #expect(seen == 1)
            #expect(count == 1)
        }
    }

    @Test func `a transaction with a refused statement does not commit, even if that was caught`()
        async throws
    {
        try await withPool { pool in
            _ = try await pool.write(["CREATE TABLE t (id bigint PRIMARY KEY)"])

            await #expect(throws: DatabaseError.uniqueViolation(constraint: "t_pkey")) {
                try await pool.transaction { transaction in
                    try await transaction.query("INSERT INTO t VALUES (\(1))")
                    // The point of this test is a body that swallows the error.
                    _ = try? await transaction.query("INSERT INTO t VALUES (\(1))")
                }
            }

            let count = try await pool.one("SELECT count(*) FROM t")
            #expect(count == 0)
        }
    }

    @Test func `a transaction without statements needs no server round trip`() async throws {
        try await withPool { pool in
            let value = try await pool.transaction { _ in 5 }

            #expect(value == 5)
        }
    }

    @Test func `transactions are read committed`() async throws {
        try await withPool { pool in
            let level = try await pool.transaction { transaction in
                try await transaction.query("SHOW transaction_isolation").first(as: String.self)
            }

            #expect(level == "read committed")
        }
    }

    @Test func `whoever waits too long for a connection is told so`() async throws {
        try await withPool { (settings) in
            settings.exclusiveConnections = 1
            settings.acquireTimeout = .seconds(3)
        } _: { pool in
            try await pool.transaction { transaction in
                try await transaction.query("SELECT 1")
                await #expect(throws: DatabaseError.overloaded) {
                    try await pool.transaction { try await $0.query("SELECT 2") }
                }
            }

            let after = try await pool.transaction {
                try await $0.query("SELECT 3::bigint").first(as: Int.self)
            }
            #expect(after == 3)
        }
    }

    @Test func `a cancelled task's statement ends on the server and its connection serves on`()
        async throws
    {
        try await withPool { (settings) in
            settings.exclusiveConnections = 1
        } _: { pool in
            await #expect(throws: DatabaseError.cancelled) {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        try await pool.transaction {
                            _ = try await $0.query("SELECT pg_sleep(60)")
                        }
                    }
                    try await waitForSleeper(pool)
                    group.cancelAll()
                    try await group.waitForAll()
                }
            }

            let answer = try await pool.transaction {
                try await $0.query("SELECT 4::bigint").first(as: Int.self)
            }
            #expect(answer == 4)
        }
    }

    @Test func `a cancelled task stops waiting for a connection`() async throws {
        try await withPool { (settings) in
            settings.exclusiveConnections = 1
        } _: { pool in
            try await pool.transaction { transaction in
                try await transaction.query("SELECT 1")
                await #expect(throws: DatabaseError.cancelled) {
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        group.addTask { try await pool.transaction { _ in } }
                        try await pool.loop.sleep(for: .milliseconds(20))
                        group.cancelAll()
                        try await group.waitForAll()
                    }
                }
            }
        }
    }

    @Test func `a transaction whose backend dies fails and does not go on elsewhere`() async throws
    {
        try await withPool { pool in
            await #expect(throws: DatabaseError.unavailable) {
                try await pool.transaction { transaction in
                    let backend = try await transaction.query("SELECT pg_backend_pid()")
                        .first(as: Int32.self)!
                    _ = try await pool.read("SELECT pg_terminate_backend(\(backend))")
                    try await pool.loop.sleep(for: .milliseconds(300))
                    try await transaction.query("CREATE TABLE leaked (id bigint)")
                }
            }

            let leaked = try await pool.one(
                "SELECT count(*) FROM pg_class WHERE relname = 'leaked'"
            )
            #expect(leaked == 0)
        }
    }
}

struct ExclusiveConnections {
    @Test func `rows go in and come out by COPY`() async throws {
        try await withPool { pool in
            try await pool.exclusive { connection in
                try await connection.script("CREATE TABLE t (id bigint); CREATE INDEX ON t (id)")
                let chunks = AsyncStream<[UInt8]> { stream in
                    for start in 0..<1_000 {
                        let lines = (0..<100).map { "\(start * 100 + $0)\n" }.joined()
                        stream.yield(Array(lines.utf8))
                    }
                    stream.finish()
                }

                let sent = try await connection.copyIn("COPY t FROM STDIN", chunks)
                var received: [UInt8] = []
                let count = try await connection.copyOut("COPY (SELECT max(id) FROM t) TO STDOUT") {
                    received += $0
                }

                #expect(sent == 100_000)
                #expect(count == 1)
                #expect(received == Array("99999\n".utf8))
            }
        }
    }

    @Test func `a COPY whose sender fails leaves no rows`() async throws {
        try await withPool { pool in
            try await pool.exclusive { connection in
                try await connection.script("CREATE TABLE t (id bigint)")
                let chunks = AsyncThrowingStream<[UInt8], any Error> { stream in
                    stream.yield(Array("1\n".utf8))
                    stream.finish(throwing: Whim())
                }

                await #expect(throws: Whim.self) {
                    try await connection.copyIn("COPY t FROM STDIN", chunks)
                }

                let count = try await connection.query("SELECT count(*) FROM t")
                #expect(try count.first(as: Int.self) == 0)
            }
        }
    }

    @Test func `a script's error is the script's error`() async throws {
        try await withPool { pool in
            try await pool.exclusive { connection in
                await #expect(
                    throws: DatabaseError.query(sqlstate: "22012", message: "division by zero")
                ) {
                    try await connection.script("CREATE TABLE t (id bigint); SELECT 1/0; SELECT 1")
                }

                let tables = try await connection.query(
                    "SELECT count(*) FROM pg_class WHERE relname = 't'"
                )
                #expect(try tables.first(as: Int.self) == 0)
            }
        }
    }

    @Test func `an error of the commit itself is the statement's error`() async throws {
        try await withPool { pool in
            try await pool.exclusive { connection in
                try await connection.script(
                    """
                    CREATE TABLE t (
                        id bigint CONSTRAINT once UNIQUE DEFERRABLE INITIALLY DEFERRED
                    )
                    """
                )

                await #expect(throws: DatabaseError.uniqueViolation(constraint: "once")) {
                    try await connection.query("INSERT INTO t VALUES (1), (1)")
                }

                let rows = try await connection.query("INSERT INTO t VALUES (1), (2)")
                #expect(rows.affected == 2)
            }
        }
    }

    @Test func `what a body sets is undone for the next`() async throws {
        try await withPool { (settings) in
            settings.exclusiveConnections = 1
        } _: { pool in
            try await pool.exclusive { connection in
                try await connection.setTimeLimit(nil)
                try await connection.query("SET search_path = nowhere")
                try await connection.query("BEGIN")
            }

            try await pool.exclusive { connection in
                let path = try await connection.query("SHOW search_path").first(as: String.self)
                let limit = try await connection.query("SHOW statement_timeout")
                    .first(as: String.self)
                #expect(path == #""$user", public"#)
                #expect(limit == "20s")
            }
        }
    }

    @Test func `a notification arrives`() async throws {
        try await withPool { pool in
            try await pool.exclusive { connection in
                try await connection.query("LISTEN news")
                _ = try await pool.write(["SELECT pg_notify('news', 'hello')"])

                let news = try await connection.notification(within: .seconds(10))
                let silence = try await connection.notification(within: .milliseconds(20))

                #expect(news?.payload == "hello")
                #expect(silence == nil)
            }
        }
    }
}
