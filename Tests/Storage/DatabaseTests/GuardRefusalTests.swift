import Database
import Postgres
import Sharding
import TestSupport
import Testing

/// A write that forgot its fence, and comes after the bucket has gone.
struct GuardRefusalTests {
    @Test func `it is refused as by the fence, with the next owner, and changes nothing`()
        async throws
    {
        let cluster = try await TestCluster.make(shards: 2, modules: ["Feed"])
        let bucket = cluster.map.buckets(of: ShardID("s1")!)[0]
        let shard = cluster.shard(of: bucket)
        try await shard.psql(
            """
            UPDATE control.bucket_owner SET state = 'released', attempt = 'm1.1', next_shard = 's2'
            WHERE bucket = \(bucket)
            """
        )

        try await withDatabase(cluster) { database in
            let failure = await #expect(throws: DatabaseError.self) {
                try await database.write(
                    onShard: ShardID("s1")!,
                    [
                        "INSERT INTO feed.entry (bucket, reader, post_id, author) VALUES (\(bucket), 1, 1, 1)"
                    ]
                )
            }
            #expect(
                failure
                    == .fenced(
                        bucket: bucket.rawValue,
                        hint: "bucket=\(bucket) state=released epoch=1 next=s2"
                    )
            )
            #expect(failure?.isRetryable == true)
        }

        #expect(try await shard.psql("SELECT count(*) FROM feed.entry") == "0")
    }
}
