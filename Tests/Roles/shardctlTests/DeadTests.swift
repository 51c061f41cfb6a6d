import JSON
import TestSupport
import Testing

/// Dead letters of two shards, through the program.
@Suite(.serialized)
struct DeadLetterTests {
    @Test func `dead letters are listed, shown and put back`() async throws {
        let bare = try await cluster()
        let (here, there) = (try await bucket(of: bare, 0), try await bucket(of: bare, 1))
        try await bury(bare, 0, bucket: here, id: 11, kind: "feed.push", reason: "no reader")
        try await bury(bare, 0, bucket: here, id: 12, kind: "media.clean", reason: "no file")
        try await bury(bare, 1, bucket: there, id: 13, kind: "feed.push", reason: "line 1\nline 2")

        let list = try await bare.expect(0, ["dead", "list", "--json"])
        let pushes = try await bare.expect(0, ["dead", "list", "--kind", "feed.push"])
        let shown = try await bare.expect(0, ["dead", "show", "13"])

        let json = try JSONReader.parse(list.output)
        #expect(json["count"]?.int == 3)
        #expect(Set(json["dead"]?.array?.map { $0["id"]?.string } ?? []) == ["11", "12", "13"])
        #expect(pushes.output.contains("11 ") && !pushes.output.contains("media.clean"))
        #expect(!pushes.output.contains("line 2") && shown.output.contains("line 2"))

        let all = try await bare.expect(
            0,
            ["dead", "requeue", "--all", "--kind", "feed.push", "--json"]
        )
        let one = try await bare.expect(0, ["dead", "requeue", "12"])

        #expect(try JSONReader.parse(all.output)["requeued"]?.int == 2)
        #expect(one.output == "1 put back\n")
        let back = try await bare.servers[0].psql(
            "SELECT id, attempts, last_error FROM jobs.outbox WHERE available_at <= now() ORDER BY id",
            database: "tessera"
        )
        #expect(back == "11|0|no reader\n12|0|no file")
        #expect(try await bare.expect(0, ["dead"]).output == "no dead letters\n")
        await bare.stop()
    }

    @Test func `more letters than one transaction takes are all put back`() async throws {
        let bare = try await cluster()
        let here = try await bucket(of: bare, 0)
        try await bare.servers[0].psql(
            """
            INSERT INTO jobs.dead (bucket, id, kind, version, payload, attempts, created_at, reason)
            SELECT \(here), n, 'feed.push', 1, '{}', 20, now(), 'down' FROM generate_series(1, 1203) AS n
            """,
            database: "tessera"
        )

        let list = try await bare.expect(0, ["dead", "list", "--limit", "3"])
        let all = try await bare.expect(0, ["dead", "requeue", "--all"])

        #expect(list.output.contains("1200 more"))
        #expect(all.output == "1203 put back\n")
        await bare.stop()
    }

    @Test func `letters of a bucket that moves stay until it has`() async throws {
        let bare = try await cluster()
        let here = try await bucket(of: bare, 0)
        try await bury(bare, 0, bucket: here, id: 11, kind: "feed.push", reason: "no reader")
        try await bare.servers[0].psql(
            """
            UPDATE control.bucket_owner SET state = 'fenced', attempt = 'a', next_shard = 's2'
            WHERE bucket = \(here)
            """,
            database: "tessera"
        )
        // As the copy of a move has it, until its owner lets go.
        try await bury(bare, 1, bucket: here, id: 11, kind: "feed.push", reason: "no reader")

        let list = try await bare.expect(0, ["dead", "list", "--json"])
        let refused = try await bare.expect(73, ["dead", "requeue", "--all"])

        #expect(try JSONReader.parse(list.output)["count"]?.int == 1)
        #expect(refused.errors.contains("on their way to another shard"))
        await bare.stop()
    }

    @Test func `what is not there, or not asked for clearly, is refused`() async throws {
        let bare = try await cluster()

        try await bare.expect(73, ["dead", "show", "99"])
        try await bare.expect(73, ["dead", "requeue", "99"])
        try await bare.expect(64, ["dead", "requeue"])
        try await bare.expect(64, ["dead", "requeue", "1", "--all"])
        try await bare.expect(64, ["dead", "requeue", "1", "--kind", "feed.push"])
        try await bare.expect(64, ["dead", "list", "--limit", "0"])
        await bare.servers[1].process.kill()
        let list = try await bare.expect(69, ["dead", "list"])
        #expect(list.errors.contains("s2"))
        await bare.stop()
    }

    private func cluster() async throws -> BareCluster {
        let bare = try await BareCluster.make(shards: 2)
        try await bare.expect(0, ["init"] + bare.named + bare.migrations)
        try await bare.expect(0, ["migrate"] + bare.migrations)
        return bare
    }

    private func bucket(of bare: BareCluster, _ server: Int) async throws -> String {
        try await bare.servers[server].psql(
            "SELECT min(bucket) FROM control.bucket_owner WHERE state = 'own'",
            database: "tessera"
        )
    }

    /// As a stream of rows does it, which writes where the shard itself may not.
    private func bury(
        _ bare: BareCluster,
        _ server: Int,
        bucket: String,
        id: Int,
        kind: String,
        reason: String
    ) async throws {
        try await bare.servers[server].psql(
            """
            SET session_replication_role = replica;
            INSERT INTO jobs.dead (bucket, id, kind, version, payload, attempts, created_at, reason)
            VALUES (\(bucket), \(id), '\(kind)', 1, '{"n": 1}', 20, now(), '\(reason)')
            """,
            database: "tessera"
        )
    }
}
