import TestSupport
import Testing

struct GuardTests {
    private func refusal(
        _ shard: TestShard,
        _ sql: String,
        as user: String = "app"
    ) async -> String {
        do {
            try await shard.psql(sql, user: user)
            return "accepted"
        } catch {
            return "\(error)"
        }
    }

    @Test(arguments: ["fenced", "released", "incoming", "gone"])
    func `a write without a fence is refused unless the bucket is owned`(
        state: String
    ) async throws {
        let shard = try await TestShard.make(modules: ["Jobs", "Feed"])
        try await shard.psql(
            """
            INSERT INTO feed.entry VALUES (7, 1, 1, 1);
            UPDATE control.bucket_owner
            SET state = '\(state)', attempt = 'm1.1', next_shard = 's2' WHERE bucket = 7
            """
        )

        let writes = [
            "INSERT INTO feed.entry VALUES (7, 1, 2, 1)",
            "INSERT INTO feed.entry VALUES (6, 1, 2, 1), (7, 1, 2, 1), (8, 1, 2, 1)",
            "INSERT INTO feed.entry VALUES (7, 1, 1, 1) ON CONFLICT (bucket, reader, post_id) "
                + "DO UPDATE SET author = 2",
            "UPDATE feed.entry SET author = 9",
            "DELETE FROM feed.entry",
        ]
        for sql in writes {
            let answer = await refusal(shard, sql)
            #expect(answer.contains("TF001"), "\(sql): \(answer)")
            #expect(answer.contains("bucket=7 state=\(state) epoch=1 next=s2"), "\(answer)")
        }
        #expect(try await shard.psql("SELECT * FROM feed.entry") == "7|1|1|1")
    }

    @Test func `a bucket without an owner row is nobody's`() async throws {
        let shard = try await TestShard.make(modules: ["Feed"], owning: 0...5)

        let answer = await refusal(shard, "INSERT INTO feed.entry VALUES (9, 1, 1, 1)")

        #expect(answer.contains("bucket=9 state=- epoch=- next=-"), "\(answer)")
    }

    @Test func `a write that touches no row asks nothing`() async throws {
        let shard = try await TestShard.make(modules: ["Feed"], owning: 0...5)

        #expect(await refusal(shard, "DELETE FROM feed.entry WHERE bucket = 9") == "accepted")
        #expect(await refusal(shard, "INSERT INTO feed.entry VALUES (5, 1, 1, 1)") == "accepted")
    }

    @Test func `a transaction whose snapshot may be old is refused`() async throws {
        let shard = try await TestShard.make(modules: ["Feed"])

        let answer = await refusal(
            shard,
            "BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO feed.entry VALUES (5, 1, 1, 1)"
        )

        #expect(answer.contains("TF002"), "\(answer)")
    }

    @Test func `rows that arrive by replication pass, and are logged where a move watches`()
        async throws
    {
        let shard = try await TestShard.make(modules: ["Feed"], owning: 0...5)
        try await shard.psql("INSERT INTO control.move_watch VALUES (9, 'm1')")

        try await shard.psql(
            """
            SET session_replication_role = replica;
            INSERT INTO feed.entry VALUES (9, 1, 1, 1), (8, 1, 1, 1);
            UPDATE feed.entry SET author = 5 WHERE bucket = 9;
            UPDATE feed.entry SET post_id = 2 WHERE bucket = 9;
            DELETE FROM feed.entry WHERE bucket = 9;
            SET tessera.copying = 'on';
            INSERT INTO feed.entry VALUES (9, 7, 7, 7);
            """
        )

        let keys = try await shard.psql(
            "SELECT key ->> 'reader', key ->> 'post_id' FROM control.applied_key ORDER BY id"
        )
        #expect(
            keys.split(separator: "\n").sorted() == ["1|1", "1|1", "1|1", "1|2", "1|2"].sorted()
        )
    }

    @Test func `a write that is under way keeps the owner row as it is, fence or no fence`()
        async throws
    {
        let shard = try await TestShard.make(modules: ["Feed"])
        try await shard.psql("CREATE TABLE public.order_of_events (n serial, what text)")

        async let writer = shard.psql(
            """
            BEGIN;
            INSERT INTO feed.entry VALUES (5, 1, 1, 1);
            SELECT pg_sleep(1.5);
            INSERT INTO order_of_events (what) VALUES ('written');
            COMMIT;
            """
        )
        try await Task.sleep(for: .milliseconds(500))
        try await shard.psql(
            """
            BEGIN;
            SELECT control.fence_for_move('m1.1', '{5}', '{1}', 's2', 10000);
            INSERT INTO order_of_events (what) VALUES ('fenced');
            COMMIT;
            """
        )
        _ = try await writer

        let order = try await shard.psql("SELECT what FROM order_of_events ORDER BY n")
        #expect(order == "written\nfenced")
    }

    @Test func `every table with a bucket is guarded and has the bucket in its key`() async throws {
        let shard = try await TestShard.make(
            modules: [
                "Jobs", "Counters", "Accounts", "Feed", "Graph", "Media", "Posts", "ServiceKit",
            ]
        )

        let tables = try await shard.psql("SELECT count(*) FROM control.bucket_tables()")
        let guarded = try await shard.psql(
            """
            SELECT count(*) FROM control.bucket_tables() AS t
            WHERE 'bucket' = ANY (t.key_columns) AND 4 = (
                SELECT count(*) FROM pg_trigger AS g
                WHERE g.tgrelid = t.relation AND g.tgname LIKE 'bucket\\_%'
            )
            """
        )
        #expect(Int(tables)! >= 30)
        #expect(guarded == tables)
    }
}
