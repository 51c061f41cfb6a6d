import EventLoops
import Glibc
import Postgres
import TestSupport
import Testing

/// One test after the other, with a server of their own, since most of them break it.
@Suite(.serialized) struct ConnectionLoss {
    private static let start = Task { try await PostgresServer.start() }

    private static func server() async throws -> PostgresServer { try await start.value }

    @Test func `SIGKILL of a backend fails who waits, and reads work again`() async throws {
        let server = try await Self.server()
        try await withPool(on: server) { pool in
            let backend = try await pool.one("SELECT pg_backend_pid()")!
            async let waiting = readTogether(pool, 40) { _ in "SELECT pg_sleep(30)::text" }
            try await pool.loop.sleep(for: .milliseconds(200))

            kill(pid_t(backend), SIGKILL)

            for answer in await waiting { #expect(answer.error == .unavailable) }
            let back = try await untilAnswered(pool)
            #expect(back)
        }
    }

    @Test func `SIGKILL of the postmaster fails who waits, and its return is noticed`()
        async throws
    {
        let server = try await Self.server()
        try await withPool(on: server) { (settings) in
            settings.acquireTimeout = .milliseconds(500)
        } _: { pool in
            let backends = try await pool.read(
                "SELECT pid FROM pg_stat_activity WHERE pid IS NOT NULL"
            ).decode(as: Int32.self)
            async let waiting = readTogether(pool, 10) { _ in "SELECT pg_sleep(30)::text" }
            try await pool.loop.sleep(for: .milliseconds(200))
            await server.process.kill()
            for backend in backends { kill(backend, SIGKILL) }

            for answer in await waiting { #expect(answer.error == .unavailable) }
            await #expect(throws: DatabaseError.unavailable) { try await pool.read("SELECT 1") }
            await #expect(throws: DatabaseError.unavailable) { try await pool.write(["SELECT 1"]) }
            await #expect(throws: DatabaseError.unavailable) {
                try await pool.transaction { try await $0.query("SELECT 1") }
            }
            // Known to be down: refused at once.
            let start = EventLoop.nanoseconds
            await #expect(throws: DatabaseError.unavailable) { try await pool.read("SELECT 1") }
            #expect(EventLoop.nanoseconds - start < 100_000_000)

            try await server.startAgain()
            let back = try await untilAnswered(pool)
            #expect(back)
        }
    }

    @Test func `a backend that answers no more is given up`() async throws {
        let server = try await Self.server()
        try await withPool(on: server) { (settings) in
            settings.statementTimeout = .milliseconds(300)
            settings.answerGrace = .milliseconds(200)
        } _: { pool in
            let backend = pid_t(try await pool.one("SELECT pg_backend_pid()")!)

            kill(backend, SIGSTOP)
            let answers = await readTogether(pool, 10) { _ in "SELECT 1" }
            for answer in answers { #expect(answer.error == .timeout) }

            let back = try await untilAnswered(pool)
            kill(backend, SIGCONT)
            #expect(back)
        }
    }

    @Test func `a write to a backend that answers no more has an unknown outcome`() async throws {
        let server = try await Self.server()
        try await withPool(on: server) { (settings) in
            settings.writeConnections = 1
            settings.statementTimeout = .milliseconds(300)
            settings.answerGrace = .milliseconds(200)
        } _: { pool in
            let rows = try await pool.write(["SELECT pg_backend_pid()"])
            let backend = try rows[0].first(as: Int32.self)!

            kill(backend, SIGSTOP)
            await #expect(throws: DatabaseError.outcomeUnknown) {
                try await pool.write(["SELECT 1"])
            }
            kill(backend, SIGCONT)
        }
    }

    @Test func `the first host that accepts writes is used`() async throws {
        let dead = UInt16(try TestPorts.take())
        try await withPool { (settings) in
            settings.hosts = [
                .init(name: "no-such-host.invalid", port: dead),
                .init(name: "127.0.0.1", port: dead),
                .init(name: "localhost", port: settings.hosts[0].port),
            ]
        } _: { pool in
            let answer = try await pool.one("SELECT 1::bigint")
            #expect(answer == 1)
        }
    }

    @Test func `closing fails who waits and leaves no connection`() async throws {
        try await withPool { pool in
            _ = try await pool.write(["SELECT 1"])
            async let waiting = readTogether(pool, 3) { _ in "SELECT pg_sleep(1)::text" }
            try await pool.loop.sleep(for: .milliseconds(100))

            await pool.close()

            for answer in await waiting { #expect(answer.error == .unavailable) }
            await #expect(throws: DatabaseError.unavailable) { try await pool.read("SELECT 1") }
        }
    }

    @Test func `a pool that retires lets what is under way end`() async throws {
        try await withPool { pool in
            _ = try await pool.write(["SELECT 1"])
            async let reads = readTogether(pool, 3) { "SELECT \($0) FROM pg_sleep(0.3)" }
            async let write = Result { try await pool.write(["SELECT pg_sleep(0.3)"]) }
            async let step = Result {
                try await pool.transaction { try await $0.query("SELECT pg_sleep(0.3)") }
            }
            try await pool.loop.sleep(for: .milliseconds(100))

            await pool.retire()

            let errors = await reads.map(\.error)
            #expect(errors == [nil, nil, nil])
            #expect(await write.error == nil)
            #expect(await step.error == nil)
        }
    }

    /// Reads until one is answered, at most 30 s.
    private func untilAnswered(_ pool: PostgresPool) async throws -> Bool {
        for _ in 0..<300 {
            do {
                return try await pool.one("SELECT 1::bigint") == 1
            } catch DatabaseError.unavailable, DatabaseError.timeout {
                try await pool.loop.sleep(for: .milliseconds(100))
            }
        }
        return false
    }
}
