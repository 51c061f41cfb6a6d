import Database
import Postgres
import Sharding
import TestSupport
import Testing

/// A server that is not the shard which the map means, at its address.
struct StrangerTests {
    private static let ours = ClusterID(String(repeating: "a", count: 32))!

    private static func named(_ map: ShardMap) -> ShardMap {
        var map = map
        map.cluster = ours
        return map
    }

    @Test func `nothing is read from or written to another cluster's database, or another shard's`()
        async throws
    {
        let cluster = try await aCluster(shards: 2)
        let map = Self.named(cluster.map)
        let (named, stranger) = (cluster.shards[0], cluster.shards[1])
        try await named.psql("UPDATE control.shard SET cluster = '\(Self.ours.text)'")

        for lie in ["cluster = repeat('b', 32)", "cluster = NULL, id = 's9'"] {
            try await stranger.psql("UPDATE control.shard SET \(lie)")
            try await withDatabase(TestCluster(shards: cluster.shards, map: map)) { database in
                let mine = map.buckets(of: ShardID("s1")!)[0]
                let theirs = map.buckets(of: ShardID("s2")!)[0]
                let note = Note(id: 1, text: "a")
                try await database.write(on: mine, ["SELECT 1"])
                let failure = await #expect(throws: DatabaseError.self) {
                    try await database.write(on: theirs, [Note.insert(note, in: theirs)])
                }
                #expect(failure == .unavailable)
                await #expect(throws: DatabaseError.self) {
                    let _: [Note] = try await database.rows(Note.all(in: theirs), on: theirs)
                }
            }
        }

        #expect(try await stranger.psql("SELECT count(*) FROM note") == "0")
    }

    @Test func `a shard of before clusters had names is used as it was`() async throws {
        let cluster = try await aCluster(shards: 1)
        let map = Self.named(cluster.map)

        try await withDatabase(TestCluster(shards: cluster.shards, map: map)) { database in
            let bucket = BucketID.all[3]
            try await database.write(on: bucket, [Note.insert(Note(id: 1, text: "a"), in: bucket)])
            let notes: [Note] = try await database.rows(Note.all(in: bucket), on: bucket)
            #expect(notes.count == 1)
        }
    }
}
