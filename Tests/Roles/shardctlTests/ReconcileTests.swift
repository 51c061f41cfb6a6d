import JSON
import TestSupport
import Testing

/// Counts of two shards that have drifted, through the program.
@Suite(.serialized)
struct ReconcileTests {
    @Test func `wrong counts are shown, and repaired when that is asked for`() async throws {
        let bare = try await BareCluster.make(shards: 2)
        let migrations = ["--migrations", "\(packageRoot)/Sources"]
        try await bare.expect(0, ["init"] + bare.named + migrations)
        try await bare.expect(0, ["migrate"] + migrations)
        var posts: [String] = []
        for server in 0..<2 { posts.append(try await aLikedPost(bare, server)) }
        // As the copy of a move leaves it: not this shard's to count.
        try await stranger(posts[1], bare)

        let before = try await bare.expect(1, ["reconcile", "--all"])
        let one = try await bare.expect(0, ["reconcile", posts[0], "--repair", "--json"])
        let rest = try await bare.expect(1, ["reconcile", "--all", "--json"])
        try await bare.expect(0, ["reconcile", "--all", "--repair"])
        let after = try await bare.expect(0, ["reconcile"] + posts)

        #expect(before.output.contains("2 wrong"))
        let repaired = try JSONReader.parse(one.output)
        #expect(repaired["wrong"]?.int == 1)
        #expect(repaired["counts"]?[0]?["id"]?.string == posts[0])
        #expect(repaired["counts"]?[0]?["kind"]?.string == "likes")
        #expect(repaired["counts"]?[0]?["counted"]?.int == 9)
        #expect(repaired["counts"]?[0]?["truth"]?.int == 3)
        #expect(repaired["counts"]?[0]?["repaired"]?.bool == true)
        let left = try JSONReader.parse(rest.output)
        #expect(left["counts"]?.array?.map { $0["id"]?.string } == [posts[1]])
        #expect(left["counts"]?[0]?["shard"]?.string == "s2")
        #expect(after.output.contains("0 wrong"))

        try await bare.expect(64, ["reconcile"])
        try await bare.expect(64, ["reconcile", "1", "--all"])
        await bare.servers[1].process.kill()
        let silent = try await bare.expect(69, ["reconcile", "--all"])
        #expect(silent.errors.contains("s2"))
        await bare.stop()
    }

    /// A post with three likes that counts nine.
    private func aLikedPost(_ bare: BareCluster, _ server: Int) async throws -> String {
        let bucket = try await bare.servers[server].psql(
            "SELECT min(bucket) FROM control.bucket_owner WHERE state = 'own'",
            database: "tessera"
        )
        return try await bare.servers[server].psql(
            """
            INSERT INTO posts.favourite (bucket, post, actor, id)
            SELECT \(bucket), (5::bigint << 16) | (\(bucket) << 6), n, n
            FROM generate_series(1, 3) AS n;
            INSERT INTO counters.total (bucket, subject, kind, amount)
            VALUES (\(bucket), (5::bigint << 16) | (\(bucket) << 6), 1, 9)
            RETURNING subject;
            """,
            database: "tessera"
        )
    }

    private func stranger(_ post: String, _ bare: BareCluster) async throws {
        try await bare.servers[0].psql(
            """
            SET session_replication_role = replica;
            INSERT INTO counters.total (bucket, subject, kind, amount)
            SELECT (\(post)::bigint >> 6) & 1023, \(post), 1, 5
            """,
            database: "tessera"
        )
    }
}
