import EventLoops
import Postgres
import TestSupport
import Testing

struct Writes {
    @Test func `all statements of a write commit together`() async throws {
        try await withPool { pool in
            let answers = try await pool.write([
                "CREATE TABLE t (id bigint PRIMARY KEY)",
                "INSERT INTO t VALUES (\(1)), (\(2)) RETURNING id",
            ])

            let count = try await pool.one("SELECT count(*) FROM t")
            #expect(try answers[1].decode(as: Int.self) == [1, 2])
            #expect(count == 2)
        }
    }

    @Test func `an error rolls back the whole write and the next write is sound`() async throws {
        try await withPool { (settings) in
            settings.writeConnections = 1
        } _: { pool in
            _ = try await pool.write(["CREATE TABLE t (id bigint CONSTRAINT t_key PRIMARY KEY)"])

            await #expect(throws: DatabaseError.uniqueViolation(constraint: "t_key")) {
                try await pool.write([
                    "INSERT INTO t VALUES (\(1))",
                    "INSERT INTO t VALUES (\(1))",
                    "INSERT INTO t VALUES (\(2))",
                ])
            }

            let rest = try await pool.one("SELECT count(*) FROM t")
            let next = try await pool.write(["INSERT INTO t VALUES (\(3))"])
            #expect(rest == 0)
            #expect(next[0].affected == 1)
        }
    }

    @Test func `constraints are told by kind and name`() async throws {
        try await withPool { pool in
            _ = try await pool.write([
                """
                CREATE TABLE t (
                    id bigint PRIMARY KEY,
                    small bigint NOT NULL CONSTRAINT small_enough CHECK (small < 10),
                    parent bigint CONSTRAINT has_parent REFERENCES t
                )
                """
            ])

            await #expect(throws: DatabaseError.checkViolation(constraint: "small_enough")) {
                try await pool.write(["INSERT INTO t VALUES (1, 10, NULL)"])
            }
            await #expect(throws: DatabaseError.foreignKeyViolation(constraint: "has_parent")) {
                try await pool.write(["INSERT INTO t VALUES (1, 1, 2)"])
            }
            await #expect(throws: DatabaseError.notNullViolation(column: "small")) {
                try await pool.write(["INSERT INTO t VALUES (1, NULL, NULL)"])
            }
        }
    }

    @Test func `a fence's refusal names the bucket and carries the detail`() async throws {
        try await withPool { pool in
            let refusal: SQL = """
                DO $$ BEGIN
                    RAISE EXCEPTION 'no' USING
                        ERRCODE = 'TF001', DETAIL = 'bucket=17 state=released epoch=3 next=s2';
                END $$
                """

            await #expect(
                throws: DatabaseError.fenced(
                    bucket: 17,
                    hint: "bucket=17 state=released epoch=3 next=s2"
                )
            ) {
                try await pool.write([refusal, "SELECT 1"])
            }
        }
    }

    @Test func `many writes share few connections and none is lost`() async throws {
        try await withPool { pool in
            _ = try await pool.write(["CREATE TABLE t (id bigint PRIMARY KEY)"])

            let answers = await together(200) { (index) throws(DatabaseError) in
                try await pool.write(["INSERT INTO t VALUES (\(index / 2))"])[0]
            }

            let refused = answers.filter { $0.error == .uniqueViolation(constraint: "t_pkey") }
            let count = try await pool.one("SELECT count(*) FROM t")
            let connections = try await pool.one(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            )
            #expect(refused.count == 100)
            #expect(count == 100)
            #expect(connections == pool.settings.writeConnections + 1)
        }
    }

    @Test func `a write whose table changed is sent again`() async throws {
        try await withPool { (settings) in
            settings.writeConnections = 1
        } _: { pool in
            _ = try await pool.write(["CREATE TABLE t (id bigint)"])
            let insert: SQL = "INSERT INTO t VALUES (1) RETURNING *"
            _ = try await pool.write([insert])
            _ = try await pool.write(["ALTER TABLE t ADD more bigint"])

            let answers = try await pool.write([insert])

            let count = try await pool.one("SELECT count(*) FROM t")
            #expect(answers[0].columnNames == ["id", "more"])
            #expect(count == 2)
        }
    }

    @Test func `a backend that dies in COMMIT leaves the outcome unknown`() async throws {
        try await withPool { pool in
            try await Self.makeSlowCommit(pool)

            async let write = Result { try await pool.write(["INSERT INTO slow VALUES (1)"]) }
            try await waitForSleeper(pool)
            _ = try await pool.read(
                """
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE wait_event = 'PgSleep' AND datname = current_database()
                """
            )

            #expect(await write.error as? DatabaseError == .outcomeUnknown)
            let count = try await pool.one("SELECT count(*) FROM slow")
            #expect(count == 0)
        }
    }

    @Test func `a backend that dies before COMMIT had no effect`() async throws {
        try await withPool { pool in
            _ = try await pool.write(["CREATE TABLE t (id bigint)"])

            async let write = Result {
                try await pool.write(["INSERT INTO t VALUES (1)", "SELECT pg_sleep(60)"])
            }
            try await waitForSleeper(pool)
            _ = try await pool.read(
                """
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE wait_event = 'PgSleep' AND datname = current_database()
                """
            )

            #expect(await write.error as? DatabaseError == .unavailable)
            let count = try await pool.one("SELECT count(*) FROM t")
            #expect(count == 0)
        }
    }

    /// A table whose inserts sleep in COMMIT, by a deferred trigger.
    static func makeSlowCommit(_ pool: PostgresPool) async throws {
        _ = try await pool.write([
            "CREATE TABLE slow (id bigint)",
            """
            CREATE FUNCTION sleep() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$
            """,
            """
            CREATE CONSTRAINT TRIGGER sleeps AFTER INSERT ON slow
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sleep()
            """,
        ])
    }
}

extension Result where Failure == any Error {
    init(_ body: () async throws -> Success) async {
        do { self = .success(try await body()) } catch { self = .failure(error) }
    }
}

/// Waits until a backend of the pool's database sleeps in `pg_sleep`.
func waitForSleeper(_ pool: PostgresPool) async throws {
    while true {
        let sleepers = try await pool.one(
            """
            SELECT count(*) FROM pg_stat_activity
            WHERE wait_event = 'PgSleep' AND datname = current_database()
            """
        )
        if sleepers! > 0 { return }
        try await pool.loop.sleep(for: .milliseconds(5))
    }
}
