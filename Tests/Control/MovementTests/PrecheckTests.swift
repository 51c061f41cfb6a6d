import Coordination
import Movement
import Sharding
import TestSupport
import Testing

@Suite(.serialized)
struct PrecheckTests {
    private static let cluster = ClusterID(String(repeating: "a", count: 32))!

    private func answer(_ world: MoveWorld, _ spec: MoveSpec? = nil) async -> String {
        do {
            let driver = world.driver(of: Self.cluster)
            return "\(try await driver.perform(.precheck, of: spec ?? world.spec))"
        } catch {
            return "\(error)"
        }
    }

    @Test func `what would stop a move is said before anything is changed, with what to do`()
        async throws
    {
        let world = try await MoveWorld.make(modules: ["Feed"])
        let odd = "CREATE TABLE feed.odd (id bigint PRIMARY KEY, bucket smallint)"
        // Where, what breaks it, what mends it, what is said.
        let cases: [(onSource: Bool, breaks: String, mends: String, says: String)] = [
            (
                false, "UPDATE control.shard SET id = 's9'", "UPDATE control.shard SET id = 's2'",
                "s2: its database says that it is shard s9"
            ),
            (
                false, "UPDATE control.shard SET cluster = repeat('b', 32)",
                "UPDATE control.shard SET cluster = repeat('a', 32)",
                "s2: its database belongs to another Tessera (cluster bbbbbbbb, this is aaaaaaaa)"
            ),
            (
                false, "ALTER TABLE feed.entry ADD COLUMN more integer",
                "ALTER TABLE feed.entry DROP COLUMN more",
                "s1 and s2 have different schemas: run shardctl migrate"
            ),
            (
                false,
                """
                SET session_replication_role = replica;
                INSERT INTO feed.entry VALUES (700, 1, 1, 1)
                """,
                "SET session_replication_role = replica; DELETE FROM feed.entry",
                "s2 has rows of these buckets in feed.entry: shardctl doctor --repair"
            ),
            (
                true, "UPDATE control.bucket_owner SET state = 'gone' WHERE bucket = 3",
                "UPDATE control.bucket_owner SET state = 'own' WHERE bucket = 3",
                "s1 does not own bucket 3 (gone)"
            ),
            (
                false,
                "UPDATE control.bucket_owner SET state = 'incoming', attempt = 'm1' WHERE bucket = 3",
                "UPDATE control.bucket_owner SET state = 'gone', attempt = NULL WHERE bucket = 3",
                "s2 has bucket 3 as incoming by m1"
            ),
            (
                true, "ALTER TABLE feed.entry DISABLE TRIGGER bucket_guard_insert",
                "ALTER TABLE feed.entry ENABLE TRIGGER bucket_guard_insert",
                "s1: feed.entry lack the guard: run shardctl migrate"
            ),
            (true, odd, "DROP TABLE feed.odd", "feed.odd has no bucket in its primary key"),
        ]
        for item in cases {
            let shard = item.onSource ? world.source : world.target
            try await shard.psql(item.breaks)
            let answer = await answer(world)
            #expect(answer.hasPrefix("refused: "), "\(item.breaks): \(answer)")
            #expect(answer.contains(item.says), "\(item.breaks): \(answer)")
            try await shard.psql(item.mends)
        }
        #expect(await answer(world).hasPrefix("size("))
        #expect(try await world.owners(world.target) == "3 gone 1, 700 gone 1")
    }

    @Test func `a server that cannot take part is named with what it lacks`() async throws {
        let poor = try await PostgresServer.start(settings: [
            "wal_level = replica", "max_wal_senders = 1", "max_replication_slots = 0",
            "max_logical_replication_workers = 0",
        ])
        let rich = try await SharedPair.only.servers().source
        let world = try await MoveWorld.make(modules: ["Feed"], on: (rich, poor))

        let answer = await answer(world)
        await poor.process.stop()

        for line in [
            "s2: wal_level is replica: set wal_level = logical and restart the server",
            "s2: 0 of max_replication_slots = 0 are in use",
            "s2: 0 of max_wal_senders = 1 are in use",
            "s2: 0 of max_logical_replication_workers = 0 are in use",
        ] { #expect(answer.contains(line), "\(answer)") }
    }

    @Test func `a shard that nobody knows is refused, one that does not answer may come back`()
        async throws
    {
        let world = try await MoveWorld.make(modules: ["Feed"])
        let unknown = MoveSpec(
            id: world.spec.id,
            source: world.spec.source,
            target: ShardID("s77")!,
            buckets: world.spec.buckets
        )!
        #expect(await answer(world, unknown) == "refused: the map knows no shard s77")

        world.records.change { records in
            records[world.spec.target]!.members = [
                .init(host: "127.0.0.1", port: try! TestPorts.take())
            ]
        }
        let silent = await answer(world)
        #expect(silent.hasPrefix("transient: ") && silent.contains("does not answer"), "\(silent)")
    }
}
