import TestSupport
import Testing

struct OwnershipTests {
    @Test func `the version counts what ends or begins reading, and not the fence`() async throws {
        let shard = try await TestShard.make()
        var version = try await self.version(of: shard)

        for (change, counts) in [
            ("state = 'fenced', attempt = 'm1.1', next_shard = 's2'", false),
            ("state = 'own', epoch = 3, next_shard = NULL", true),
            ("state = 'fenced', attempt = 'm1.2', next_shard = 's2'", false),
            ("state = 'released'", true),
            ("state = 'gone'", false),
            ("state = 'incoming', epoch = 6, next_shard = 's2'", false),
            ("state = 'own', epoch = 6, next_shard = NULL", true),
        ] {
            try await shard.psql("UPDATE control.bucket_owner SET \(change) WHERE bucket = 5")
            let now = try await self.version(of: shard)
            #expect((now != version) == counts, "\(change)")
            version = now
        }
        try await shard.psql("DELETE FROM control.bucket_owner WHERE bucket = 5")
        #expect(try await self.version(of: shard) != version)
    }

    @Test func `a session that writes as a replica counts, too, and neither app nor worker can`()
        async throws
    {
        let shard = try await TestShard.make()
        let before = try await version(of: shard)

        try await shard.psql(
            """
            SET session_replication_role = replica;
            UPDATE control.bucket_owner SET state = 'gone', next_shard = 's2' WHERE bucket < 16;
            """
        )

        // Sixteen buckets in one statement count once.
        #expect(try await version(of: shard) == before + 1)
        for role in ["app", "worker"] {
            for sql in [
                "UPDATE control.ownership SET version = 1",
                "SELECT control.put_shard_record('s9', 'x')",
            ] {
                await #expect(throws: TestSupportError.self) {
                    try await shard.psql(sql, user: role)
                }
            }
        }
    }

    private func version(of shard: TestShard) async throws -> Int {
        Int(try await shard.psql("SELECT version FROM control.ownership")) ?? 0
    }
}
