import TestSupport
import Testing

struct FenceTests {
    @Test func `a writer with the right epoch passes, others are refused with the next owner`()
        async throws
    {
        let shard = try await TestShard.make()
        try await shard.psql(
            """
            UPDATE control.bucket_owner
            SET state = 'released', epoch = 4, attempt = 'a', next_shard = 's2' WHERE bucket = 7;
            DELETE FROM control.bucket_owner WHERE bucket = 8;
            """
        )

        try await shard.psql("SELECT control.fence('{1,2,1023}', '{1,1,1}')", user: "app")

        let refusals = [
            ("'{7}', '{4}'", "bucket=7 state=released epoch=4 next=s2"),
            ("'{1,7}', '{1,4}'", "bucket=7 state=released epoch=4 next=s2"),
            ("'{8}', '{1}'", "bucket=8 state=- epoch=- next=-"),
            ("'{9}', '{2}'", "bucket=9 state=own epoch=1 next=s1"),
        ]
        for (arguments, detail) in refusals {
            let error = await #expect(throws: TestSupportError.self) {
                try await shard.psql("SELECT control.fence(\(arguments))", user: "app")
            }
            #expect(error?.description.contains("TF001") == true)
            #expect(error?.description.contains(detail) == true, "\(error?.description ?? "")")
        }
    }

    @Test(arguments: ["REPEATABLE READ", "SERIALIZABLE"])
    func `a transaction whose snapshot may be old is refused`(isolation: String) async throws {
        let shard = try await TestShard.make()

        let error = await #expect(throws: TestSupportError.self) {
            try await shard.psql(
                "BEGIN ISOLATION LEVEL \(isolation); SELECT control.fence('{1}', '{1}')",
                user: "app"
            )
        }

        #expect(error?.description.contains("TF002") == true)
    }

    @Test func `batches in opposite orders do not wait for each other for ever`() async throws {
        let shard = try await TestShard.make()

        try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<4 {
                group.addTask {
                    let buckets = (0..<64).map { String(writer % 2 == 0 ? $0 : 63 - $0) }
                    let list = buckets.joined(separator: ",")
                    try await shard.psql(
                        """
                        SELECT control.fence('{\(list)}', array_fill(1::bigint, '{64}'))
                        FROM generate_series(1, 50)
                        """,
                        user: "app"
                    )
                }
            }
            try await group.waitForAll()
        }
    }

    @Test func `a writer that waited while the bucket was fenced is refused`() async throws {
        #expect(try await race(fence: "control.fence") == .refused)
    }

    // The next three show why the fence is written as it is: each variant lets a stale writer through.

    @Test func `a STABLE fence would let a stale writer through`() async throws {
        #expect(
            try await race(
                fence: "wrong.fence",
                definition: """
                    CREATE FUNCTION wrong.fence(buckets smallint[], epochs bigint[]) RETURNS void
                    LANGUAGE plpgsql STABLE AS $$
                    BEGIN
                        PERFORM pg_advisory_xact_lock_shared(32341, buckets[1]);
                        IF (SELECT state FROM control.bucket_owner WHERE bucket = buckets[1])
                            <> 'own' THEN
                            RAISE SQLSTATE 'TF001';
                        END IF;
                    END $$;
                    """
            ) == .passed
        )
    }

    @Test func `lock and read in one statement would let a stale writer through`() async throws {
        #expect(
            try await race(
                fence: "wrong.fence",
                definition: """
                    CREATE FUNCTION wrong.fence(buckets smallint[], epochs bigint[]) RETURNS void
                    LANGUAGE plpgsql VOLATILE AS $$
                    DECLARE found text;
                    BEGIN
                        SELECT o.state INTO found
                        FROM (
                            SELECT pg_advisory_xact_lock_shared(32341, buckets[1]) OFFSET 0
                        ) AS locked, control.bucket_owner AS o
                        WHERE o.bucket = buckets[1];
                        IF found <> 'own' THEN
                            RAISE SQLSTATE 'TF001';
                        END IF;
                    END $$;
                    """
            ) == .passed
        )
    }

    @Test func `REPEATABLE READ without its check would let a stale writer through`() async throws {
        #expect(
            try await race(
                fence: "wrong.fence",
                isolation: "REPEATABLE READ",
                definition: """
                    CREATE FUNCTION wrong.fence(buckets smallint[], epochs bigint[]) RETURNS void
                    LANGUAGE plpgsql VOLATILE AS $$
                    BEGIN
                        PERFORM pg_advisory_xact_lock_shared(32341, buckets[1]);
                        IF (SELECT state FROM control.bucket_owner WHERE bucket = buckets[1])
                            <> 'own' THEN
                            RAISE SQLSTATE 'TF001';
                        END IF;
                    END $$;
                    """
            ) == .passed
        )
    }

    private enum Outcome { case passed, refused }

    /// A mover fences bucket 5 under the exclusive lock; a writer asks for the shared lock before the mover
    /// has committed, and so reads the owner after waiting.
    private func race(
        fence: String,
        isolation: String = "READ COMMITTED",
        definition: String = ""
    ) async throws -> Outcome {
        let shard = try await TestShard.make()
        try await shard.psql(
            "CREATE SCHEMA wrong; GRANT USAGE ON SCHEMA wrong TO app; \(definition)"
        )

        async let mover = shard.psql(
            """
            BEGIN;
            SELECT pg_advisory_xact_lock(32341, 5);
            UPDATE control.bucket_owner
            SET state = 'fenced', attempt = 'a', next_shard = 's2' WHERE bucket = 5;
            DO $$ BEGIN
                FOR i IN 1..1000 LOOP
                    EXIT WHEN EXISTS (
                        SELECT FROM pg_locks
                        WHERE locktype = 'advisory' AND classid = 32341 AND objid = 5
                            AND NOT granted
                            AND database = (
                                SELECT oid FROM pg_database WHERE datname = current_database()
                            )
                    );
                    PERFORM pg_sleep(0.02);
                END LOOP;
            END $$;
            COMMIT;
            """
        )
        try await shard.psql(
            """
            DO $$ BEGIN
                FOR i IN 1..1000 LOOP
                    EXIT WHEN EXISTS (
                        SELECT FROM pg_locks
                        WHERE locktype = 'advisory' AND classid = 32341 AND objid = 5
                            AND granted AND mode = 'ExclusiveLock'
                            AND database = (
                                SELECT oid FROM pg_database WHERE datname = current_database()
                            )
                    );
                    PERFORM pg_sleep(0.02);
                END LOOP;
            END $$
            """
        )

        let outcome: Outcome
        do {
            try await shard.psql(
                """
                BEGIN ISOLATION LEVEL \(isolation);
                SELECT count(*) FROM control.shard;
                SELECT \(fence)('{5}', '{1}');
                COMMIT;
                """,
                user: "app"
            )
            outcome = .passed
        } catch let error as TestSupportError where error.description.contains("TF001") {
            outcome = .refused
        }
        _ = try await mover
        return outcome
    }
}
