import Database
import EventLoops
import Postgres
import Sharding
import TestSupport
import Testing

struct RoutingTests {
    @Test func `each key's rows are on the shard that the map names`() async throws {
        let cluster = try await aCluster(shards: 2)
        let buckets = Array(BucketID.all.prefix(16))

        try await withDatabase(cluster) { database in
            for bucket in buckets {
                let note = Note(id: Int64(bucket.rawValue), text: "\(bucket)")
                try await database.write(on: bucket, [Note.insert(note, in: bucket)])
            }
        }

        for shard in cluster.shards {
            let found = try await shard.psql("SELECT bucket FROM note ORDER BY bucket")
            let wanted = buckets.filter { cluster.map[$0].shard.name == shard.id }
            #expect(found == wanted.map(\.description).joined(separator: "\n"))
            #expect(!wanted.isEmpty)
        }
    }

    @Test func `a gather finds the rows of every shard`() async throws {
        let cluster = try await aCluster(shards: 3)
        let buckets = Array(BucketID.all.prefix(30))

        let found: [Note] = try await withDatabase(cluster) { database in
            for bucket in buckets {
                let note = Note(id: Int64(bucket.rawValue), text: "x")
                try await database.write(on: bucket, [Note.insert(note, in: bucket)])
            }
            return try await database.gather(buckets) { Note.all(in: $0) }
        }

        #expect(Set(found.map(\.id)) == Set(buckets.map { Int64($0.rawValue) }))
        #expect(found.count == buckets.count)
    }

    @Test func `what is asked of each bucket is counted`() async throws {
        let cluster = try await aCluster(shards: 2)
        let (one, other) = (BucketID.all[3], BucketID.all[900])

        let tally = try await withDatabase(cluster) { database in
            for id in 1...3 {
                let note = Note(id: Int64(id), text: "x")
                try await database.write(on: one, [Note.insert(note, in: one)])
            }
            let _: [Note] = try await database.rows(Note.all(in: other), on: other)
            let _: [Note] = try await database.gather([one, other]) { Note.all(in: $0) }
            return database.tally.take()
        }

        #expect(tally.writes[3] == 3 && tally.writes[900] == 0)
        #expect(tally.reads[3] == 1 && tally.reads[900] == 2)
        #expect(tally.reads.reduce(0, +) == 3)
    }

    @Test func `a failing statement takes the whole write with it`() async throws {
        let cluster = try await aCluster(shards: 1)
        let bucket = BucketID.all[0]
        let note = Note(id: 1, text: "a")

        try await withDatabase(cluster) { database in
            let error = await #expect(throws: DatabaseError.self) {
                try await database.write(
                    on: bucket,
                    [Note.insert(note, in: bucket), Note.insert(note, in: bucket)]
                )
            }
            #expect(error == .uniqueViolation(constraint: "note_pkey"))
            let left: [Note] = try await database.rows(Note.all(in: bucket), on: bucket)
            #expect(left.isEmpty)
        }
    }

    @Test func `a key that the shard does not own is never written`() async throws {
        let cluster = try await aCluster(shards: 1)
        let bucket = BucketID.all[3]
        try await cluster.shards[0].psql("DELETE FROM control.bucket_owner WHERE bucket = 3")

        try await withDatabase(cluster, refusalDeadline: .milliseconds(200)) { database in
            let error = await #expect(throws: DatabaseError.self) {
                try await database.write(
                    on: bucket,
                    [Note.insert(Note(id: 1, text: "a"), in: bucket)]
                )
            }
            #expect(error?.isFenced == true)
            await #expect(throws: DatabaseError.self) {
                try await database.transaction(on: bucket) { transaction in
                    try await transaction.query(Note.insert(Note(id: 2, text: "a"), in: bucket))
                }
            }
        }

        #expect(try await cluster.shards[0].psql("SELECT count(*) FROM note") == "0")
    }
}

struct RefusalTests {
    @Test func `a write with an old map arrives at the next owner, once`() async throws {
        let cluster = try await aCluster(shards: 2)
        let bucket = BucketID.all[0]
        let (from, to) = pair(cluster, bucket)
        try await release(bucket, from, to)
        try await activate(bucket, to)

        try await withDatabase(cluster) { database in
            try await database.write(on: bucket, [Note.insert(Note(id: 1, text: "a"), in: bucket)])

            #expect(database.statistics.refusals == 1)
            #expect(database.shard(of: bucket).name == to.id)
            // The hint is kept: the second write goes there at once.
            try await database.write(on: bucket, [Note.insert(Note(id: 2, text: "b"), in: bucket)])
            #expect(database.statistics.refusals == 1)
        }

        #expect(try await from.psql("SELECT count(*) FROM note") == "0")
        #expect(try await to.psql("SELECT count(*) FROM note") == "2")
    }

    @Test func `a transaction's body runs again where the bucket is now`() async throws {
        let cluster = try await aCluster(shards: 2)
        let bucket = BucketID.all[0]
        let (from, to) = pair(cluster, bucket)
        try await release(bucket, from, to)
        try await activate(bucket, to)

        let count: Int64? = try await withDatabase(cluster) { database in
            try await database.transaction(on: bucket) { transaction in
                try await transaction.query(Note.insert(Note(id: 1, text: "a"), in: bucket))
                return try await transaction.row("SELECT count(*) FROM note")
            }
        }

        #expect(count == 1)
        #expect(try await to.psql("SELECT count(*) FROM note") == "1")
    }

    @Test func `a write is held while its bucket is between two owners`() async throws {
        let cluster = try await aCluster(shards: 2)
        let bucket = BucketID.all[0]
        let (from, to) = pair(cluster, bucket)
        try await from.psql(
            """
            UPDATE control.bucket_owner SET state = 'fenced', attempt = 'a', next_shard = '\(to.id)'
            WHERE bucket = \(bucket)
            """
        )

        try await withDatabase(cluster) { database in
            async let written = database.write(
                on: bucket,
                [Note.insert(Note(id: 1, text: "a"), in: bucket)]
            )
            while database.statistics.refusals == 0 {
                try await database.loop.sleep(for: .milliseconds(5))
            }
            try await release(bucket, from, to)
            try await activate(bucket, to)
            _ = try await written
        }

        #expect(try await to.psql("SELECT count(*) FROM note") == "1")
    }

    @Test func `a bucket that stays between two owners is given up in time`() async throws {
        let cluster = try await aCluster(shards: 2)
        let bucket = BucketID.all[0]
        let (from, to) = pair(cluster, bucket)
        try await release(bucket, from, to)

        try await withDatabase(cluster, refusalDeadline: .milliseconds(300)) { database in
            let error = await #expect(throws: DatabaseError.self) {
                try await database.write(
                    on: bucket,
                    [Note.insert(Note(id: 1, text: "a"), in: bucket)]
                )
            }
            #expect(error?.isFenced == true)
            #expect(error?.isRetryable == true)
            // A pause lies between two tries, so a slow machine makes fewer of them and never more.
            let most = Duration.milliseconds(300) / database.settings.refusalPause
            #expect((1...Int(most) + 1).contains(database.statistics.refusals))
        }
    }

    @Test func `buckets that have parted are grouped anew by the caller`() async throws {
        let cluster = try await aCluster(shards: 2)
        let parted = cluster.map.shards.compactMap { cluster.map.buckets(of: $0.id).first }

        try await withDatabase(cluster) { database in
            let error = await #expect(throws: DatabaseError.self) {
                try await database.write(on: parted, ["SELECT 1"])
            }
            #expect(error?.isFenced == true)
            #expect(database.grouped(parted).count == 2)
        }
    }

    private func pair(_ cluster: TestCluster, _ bucket: BucketID) -> (TestShard, TestShard) {
        let from = cluster.shard(of: bucket)
        return (from, cluster.shards.first { $0.id != from.id }!)
    }

    private func release(_ bucket: BucketID, _ from: TestShard, _ to: TestShard) async throws {
        try await from.psql(
            """
            UPDATE control.bucket_owner
            SET state = 'released', attempt = 'a', next_shard = '\(to.id)' WHERE bucket = \(bucket)
            """
        )
    }

    private func activate(_ bucket: BucketID, _ shard: TestShard) async throws {
        try await shard.psql(
            """
            UPDATE control.bucket_owner SET state = 'own', epoch = 2, next_shard = NULL
            WHERE bucket = \(bucket)
            """
        )
    }
}

struct ConnectionBudgetTests {
    @Test func `a process that would take more connections than there are is refused`()
        async throws
    {
        let cluster = try await aCluster(shards: 1)

        try await withDatabase(cluster) { database in
            try await database.check(ConnectionBudget(loops: 2, settings: database.settings))
            await #expect(throws: ConnectionBudget.Exceeded.self) {
                try await database.check(ConnectionBudget(loops: 100, settings: database.settings))
            }
        }
    }
}

extension DatabaseError {
    fileprivate var isFenced: Bool {
        if case .fenced = self { true } else { false }
    }
}
