import EventLoops
import Postgres
import Sharding
import Synchronization
import Testing
import TestSupport

struct ReadLane {
    @Test func `a read returns rows`() async throws {
        try await withPool { pool in
            let rows = try await pool.read("SELECT \(40) + \(2), \("x")")

            let value = try rows.map { (row) throws(DatabaseError) in
                (try row.next(Int.self), try row.next(String.self))
            }
            #expect(value.count == 1)
            #expect(value[0] == (42, "x"))
        }
    }

    @Test func `an error is its own query's, and its neighbours are answered`() async throws {
        try await withPool { pool in
            let answers = await readTogether(pool, 30) { index in
                index % 7 == 3
                    ? "SELECT 1 / \(0)"
                    : "SELECT \(index)"
            }

            for (index, answer) in answers.enumerated() {
                if index % 7 == 3 {
                    #expect(answer.error == .query(sqlstate: "22012", message: "division by zero"))
                } else {
                    #expect(answer.integer == index)
                }
            }
        }
    }

    @Test func `a statement that cannot be prepared fails alone`() async throws {
        try await withPool { pool in
            let answers = await readTogether(pool, 9) { index in
                index == 4
                    ? "SELECT nothing FROM nowhere"
                    : "SELECT \(index)"
            }

            for (index, answer) in answers.enumerated() where index != 4 {
                #expect(answer.integer == index)
            }
            guard case .failure(.query(sqlstate: "42P01", _)) = answers[4] else {
                Issue.record("\(answers[4])")
                return
            }
        }
    }

    @Test func `ten thousand reads at once are all answered`() async throws {
        try await withPool { (settings) in
            settings.queueLimit = 10_000
            settings.readConnections = 2
        } _: { pool in
            let answers = await readTogether(pool, 10_000) { index in
                "SELECT \(index)"
            }

            let wrong = answers.enumerated().filter { $1.integer != $0 }
            #expect(wrong.isEmpty)
        }
    }

    @Test func `the reads of a turn are shared among the connections, unless they are few`()
        async throws
    {
        try await withPool { (settings) in
            settings.readConnections = 2
        } _: { pool in
            var backends: Set<Int> = []
            // The second connection is made when the first is busy.
            while backends.count < 2 {
                let answers = await readTogether(pool, 100) { _ in "SELECT pg_backend_pid()" }
                backends = Set(answers.compactMap(\.integer))
            }

            let many = await readTogether(pool, 20) { _ in "SELECT pg_backend_pid()" }
            let few = await readTogether(pool, 8) { _ in "SELECT pg_backend_pid()" }

            #expect(Set(many.compactMap(\.integer)) == backends)
            #expect(Set(few.compactMap(\.integer)).count == 1)
        }
    }

    @Test func `a full queue refuses at once and serves the rest`() async throws {
        try await withPool { (settings) in
            settings.queueLimit = 100
        } _: { pool in
            let answers = await readTogether(pool, 300) { index in
                "SELECT \(index)"
            }

            let refused = answers.filter { $0.error == .overloaded }
            let served = answers.filter { $0.error == nil }
            #expect(refused.count == 200)
            #expect(served.count == 100)
        }
    }

    @Test func `a statement that is evicted is prepared again`() async throws {
        try await withPool { (settings) in
            settings.statementCacheLimit = 4
        } _: { pool in
            for round in 0..<3 {
                let answers = await readTogether(pool, 20) { index in
                    SQL(unsafe: "SELECT \(index)::bigint AS c\(index)")
                }
                for (index, answer) in answers.enumerated() {
                    #expect(answer.integer == index, "round \(round)")
                }
            }

            let kept = try await pool.read("SELECT count(*) FROM pg_prepared_statements")
            // One sync may go over the limit with what it sends itself.
            let count = try #require(try kept.first(as: Int.self))
            #expect(count <= 21)
        }
    }

    @Test func `a statement whose table changed is prepared again`() async throws {
        try await withPool { pool in
            _ = try await pool.write(["CREATE TABLE changing (a integer)"])
            _ = try await pool.write(["INSERT INTO changing VALUES (1)"])
            #expect(try await pool.read("SELECT * FROM changing").columnNames == ["a"])

            _ = try await pool.write(["ALTER TABLE changing ADD b integer"])

            #expect(try await pool.read("SELECT * FROM changing").columnNames == ["a", "b"])
        }
    }

    @Test func `one text with two types is two statements`() async throws {
        try await withPool { pool in
            for _ in 0..<2 {
                let number = try await pool.read("SELECT pg_typeof(\(1))::text")
                let text = try await pool.read("SELECT pg_typeof(\("1"))::text")

                #expect(try number.first(as: String.self) == "bigint")
                #expect(try text.first(as: String.self) == "text")
            }
        }
    }

    @Test func `text with a NUL is refused before it is sent`() async throws {
        try await withPool { pool in
            await #expect(
                throws: DatabaseError.query(
                    sqlstate: "22021",
                    message: "text with a NUL character"
                )
            ) {
                try await pool.read("SELECT \("a\0b")")
            }
        }
    }

    @Test func `a slow statement ends at its timeout`() async throws {
        try await withPool { (settings) in
            settings.statementTimeout = .milliseconds(200)
        } _: { pool in
            await #expect(throws: DatabaseError.timeout) {
                try await pool.read("SELECT pg_sleep(10)::text")
            }

            let next = try await pool.one("SELECT 1::bigint")
            #expect(next == 1)
        }
    }

    @Test func `a read in a cancelled task leaves the connection in order`() async throws {
        try await withPool { pool in
            let before = try await pool.one("SELECT pg_backend_pid()")
            await withTaskGroup { group in
                for _ in 0..<50 {
                    group.addTask { _ = try? await pool.read("SELECT pg_sleep(0.01)::text") }
                }
                group.cancelAll()
            }

            let after = try await pool.one("SELECT pg_backend_pid()")
            #expect(before == after)
        }
    }
}
