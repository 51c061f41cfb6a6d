package import Sharding

/// Several shards with the map that says which owns what.
package struct TestCluster: Sendable {
    package let shards: [TestShard]
    package let map: ShardMap

    package init(shards: [TestShard], map: ShardMap) {
        self.shards = shards
        self.map = map
    }

    /// Makes `count` shards named s1, s2 …, each with the migrations of `modules`, as databases of the shared
    /// server, or each on a server of its own that a test may kill.
    package static func make(
        shards count: Int,
        modules: [String] = [],
        ownServers: Bool = false
    ) async throws -> TestCluster {
        var shards: [TestShard] = []
        for number in 1...count {
            let server = ownServers ? try await PostgresServer.start() : nil
            shards.append(
                try await TestShard.make(
                    id: "s\(number)",
                    modules: modules,
                    on: server,
                    owning: nil
                )
            )
        }
        let map = try Placement.firstMap(shards: shards.map(\.record))
        for shard in shards { try await shard.own(by: map) }
        return TestCluster(shards: shards, map: map)
    }

    /// The test's shard that owns the bucket by the map.
    package func shard(of bucket: BucketID) -> TestShard {
        let id = map[bucket].shard.name
        return shards.first { $0.id == id }!
    }

    /// Stops the servers that were made for this cluster alone.
    package func stopServers() async {
        for shard in shards { await shard.server.process.stop() }
    }
}

extension TestShard {
    package var record: ShardRecord {
        ShardRecord(
            id: ShardID(id)!,
            members: [.init(host: host, port: port)],
            database: database
        )
    }

    /// Writes the owner rows that `map` gives this shard.
    package func own(by map: ShardMap) async throws {
        let rows = BucketID.all.map { bucket in
            let entry = map[bucket]
            return entry.shard.name == id
                ? "(\(bucket), \(entry.epoch), 'own', NULL)"
                : "(\(bucket), \(entry.epoch), 'gone', '\(entry.shard)')"
        }
        try await psql(
            """
            INSERT INTO control.shard (id) VALUES ('\(id)') ON CONFLICT DO NOTHING;
            INSERT INTO control.bucket_owner (bucket, epoch, state, next_shard)
            VALUES \(rows.joined(separator: ","));
            """
        )
    }
}
