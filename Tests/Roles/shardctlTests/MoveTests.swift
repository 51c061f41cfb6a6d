import JSON
import TestSupport
import Testing

/// Whole moves by the coordinator's process, asked for with shardctl.
@Suite(.serialized)
struct MoveTests {
    @Test func `a shard joins, gets just what the plan showed, is drained and leaves`() async throws
    {
        let cluster = try await BareCluster.make(shards: 3)
        try await cluster.expect(0, ["init"] + cluster.named.prefix(4) + cluster.migrations)
        try await cluster.expect(0, ["migrate"] + cluster.migrations)
        // A small share: two moves show as much as twenty.
        for shard in ["s1", "s2"] {
            try await cluster.expect(0, ["shard", "set-weight", shard, "100"])
        }
        try await cluster.expect(
            0,
            ["shard", "add", "s3", "--weight", "4"] + cluster.third + cluster.migrations
        )
        let coordinator = try await cluster.startCoordinator("one")
        try await cluster.awaitLeader("one")

        let plan = try JSONReader.parse(try await cluster.expect(0, ["plan", "--json"]).output)
        let applied = try await cluster.expect(0, ["apply", "--wait", "--json"])
        let planned = plan["moves"]?.array?.flatMap { $0["buckets"]?.array ?? [] } ?? []
        let moved = try await cluster.buckets(of: "s3")
        try await cluster.expect(0, ["status"])
        try await cluster.expect(73, ["shard", "remove", "s3", "--yes"])
        try await cluster.expect(0, ["shard", "drain", "s3"])
        try await cluster.expect(0, ["apply", "--wait"])
        try await cluster.expect(0, ["shard", "remove", "s3", "--yes"])

        #expect(try JSONReader.parse(applied.output)["undone"]?.int == 0)
        #expect(!moved.isEmpty && Double(moved.count) <= 1.05 * 1_024 * 4 / 204)
        #expect(moved == planned.compactMap(\.int).sorted())
        let list = try await cluster.expect(0, ["shard", "list"])
        #expect(!list.output.contains("s3 "))
        try await cluster.expect(0, ["doctor"])
        await coordinator.stop()
        await cluster.stop()
    }

    @Test func `a bucket moves under writes, is rolled back, and loses nothing`() async throws {
        let cluster = try await BareCluster.ready()
        let (bucket, owner) = (7, try await cluster.owners(of: 7)[0])
        try await cluster.fill(bucket, on: owner, rows: 500)
        let coordinator = try await cluster.startCoordinator("one", retentionSeconds: 600)
        try await cluster.awaitLeader("one")
        let writer = Writer(cluster, bucket: bucket)
        async let writing: Void = writer.run()

        try await cluster.expect(0, ["pin", "7", "--to", "s\(2 - owner)"])
        try await cluster.expect(0, ["apply", "--wait"])
        let there = try await cluster.owners(of: bucket)
        let move = try #require(try await cluster.moves().last?["id"]?.string)
        try await cluster.eventually("the way back is open") {
            try await cluster.moves().last?["can_roll_back"]?.bool == true
        }
        try await cluster.expect(0, ["verify", move])
        try await cluster.expect(0, ["rollback", move])
        try await cluster.eventually("all is over") {
            try await cluster.moves().allSatisfy { $0["over"]?.bool == true }
        }

        await writer.stop()
        await writing
        let back = try await cluster.owners(of: bucket)
        #expect((there, back) == ([1 - owner], [owner]))
        let rows = try await cluster.rows(of: bucket)
        #expect(rows == (owner == 0 ? [500, 0] : [0, 500]))
        let written = try await cluster.rows(of: bucket, in: "counters.delta")
        #expect(written.reduce(0, +) == (await writer.acknowledged))
        try await cluster.expect(0, ["doctor"])
        await coordinator.stop()
        await cluster.stop()
    }

    @Test func `a move is taken back, and a pause starts none`() async throws {
        let cluster = try await BareCluster.ready()
        let owner = try await cluster.owners(of: 7)[0]
        // Seconds of copying, in which the operator can have a change of mind.
        try await cluster.fill(7, on: owner, rows: 200_000)
        let coordinator = try await cluster.startCoordinator("one", megabytesPerSecond: 1)
        try await cluster.awaitLeader("one")

        try await cluster.expect(0, ["pin", "7", "--to", "s\(2 - owner)"])
        try await cluster.expect(0, ["pause"])
        try await cluster.expect(0, ["apply"])
        let second = try await cluster.expect(73, ["apply"])
        #expect(second.errors.contains("a plan is being carried out"))
        #expect(try await cluster.moves().isEmpty)
        try await cluster.expect(0, ["resume"])
        // Other buckets may be moved to balance this one.
        try await cluster.eventually("the copy begins") {
            try await cluster.moves().contains {
                $0["step"]?.string == "copying"
                    && ($0["buckets"]?.array ?? []).contains { $0.int == 7 }
            }
        }
        try await cluster.expect(0, ["abort", "--yes"])
        let move = try await cluster.awaitMove(of: 7, after: 0)

        #expect(move["step"]?.string == "undone")
        #expect(try await cluster.owners(of: 7) == [owner])
        try await cluster.expect(0, ["doctor"])
        await coordinator.stop()
        await cluster.stop()
    }
}

extension BareCluster {
    /// Two shards that own their halves, with the schema of the storage modules.
    static func ready() async throws -> BareCluster {
        let cluster = try await make(shards: 2)
        try await cluster.expect(0, ["init"] + cluster.named + cluster.migrations)
        try await cluster.expect(0, ["migrate"] + cluster.migrations)
        return cluster
    }

    /// The third server as `shard add` takes it.
    var third: [String] { ["--address", "127.0.0.1:\(servers[2].port)"] }

    /// The buckets that the map puts on the shard, in order.
    func buckets(of shard: String) async throws -> [Int] {
        let map = try JSONReader.parse(try await expect(0, ["map", "show", "--json"]).output)
        return (map["buckets"]?.array ?? []).filter { $0["shard"]?.string == shard }
            .compactMap { $0["bucket"]?.int }
    }
}
