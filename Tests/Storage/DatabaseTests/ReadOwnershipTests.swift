import Database
import EventLoops
import Postgres
import Sharding
import TestSupport
import Testing

struct ReadOwnershipTests {
    @Test func `a node with an old map reads from the owner, and is sent on once for each shard`()
        async throws
    {
        let cluster = try await aCluster(shards: 2)
        let buckets = Array(cluster.map.buckets(of: ShardID("s1")!).prefix(3))
        for (number, bucket) in buckets.enumerated() {
            try await cluster.put(Note(id: 1, text: "old"), in: bucket)
            let move = cluster.move(bucket, number: number + 1)
            try await move.run()
            try await move.target.psql("UPDATE note SET text = 'new' WHERE bucket = \(bucket)")
        }

        try await withDatabase(cluster) { database in
            for bucket in buckets {
                let found: [Note] = try await database.rows(Note.all(in: bucket), on: bucket)
                #expect(found.map(\.text) == ["new"])
            }

            // The owner rows of s1 taught all three routes at once.
            #expect(database.statistics.misreads == 1)
            #expect(database.statistics.refusals == 0)
        }
    }

    @Test func `a read that began before the bucket moved is answered by the new owner`()
        async throws
    {
        let cluster = try await aCluster(shards: 2)
        let bucket = BucketID.all[0]
        try await cluster.put(Note(id: 1, text: "old"), in: bucket)
        let move = cluster.move(bucket)
        for shard in cluster.shards {
            try await shard.psql(
                """
                -- Ends at once on the target, and on the source when the bucket has gone.
                CREATE FUNCTION until_settled() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
                BEGIN
                    WHILE (SELECT id FROM control.shard) = '\(move.source.id)' AND NOT EXISTS (
                        SELECT FROM control.bucket_owner
                        WHERE bucket = \(bucket) AND state = 'gone'
                    ) LOOP PERFORM pg_sleep(0.01); END LOOP;
                    RETURN '';
                END $$
                """
            )
        }

        let found: [String] = try await withDatabase(cluster) { database in
            // The node knows the owner rows, and its read is on the way until they have changed.
            _ = try await database.read(Note.all(in: bucket), on: bucket)
            async let read: [String] = database.rows(
                "SELECT text || until_settled() FROM note WHERE bucket = \(bucket)",
                on: bucket
            )
            try await database.loop.sleep(for: .milliseconds(50))
            try await move.prepare()
            try await move.fence()
            try await move.carry()
            try await move.release()
            try await move.activate()
            try await move.target.psql("UPDATE note SET text = 'new' WHERE bucket = \(bucket)")
            try await move.retire()
            return try await read
        }

        #expect(found == ["new"])
    }

    @Test func `a fenced bucket is read where it is, and a released one where it will be`()
        async throws
    {
        let cluster = try await aCluster(shards: 2)
        let bucket = BucketID.all[0]
        try await cluster.put(Note(id: 1, text: "old"), in: bucket)
        let move = cluster.move(bucket)
        try await move.prepare()
        try await move.fence()

        try await withDatabase(cluster) { database in
            let fenced: [Note] = try await database.rows(Note.all(in: bucket), on: bucket)
            #expect(fenced.map(\.text) == ["old"])
            #expect(database.statistics.misreads == 0)

            try await move.carry()
            try await move.release()
            async let released: [Note] = database.rows(Note.all(in: bucket), on: bucket)
            while database.statistics.held == 0 {
                try await database.loop.sleep(for: .milliseconds(1))
            }
            try await move.target.psql("UPDATE note SET text = 'new' WHERE bucket = \(bucket)")
            try await move.activate()

            let texts = try await released.map(\.text)
            #expect(texts == ["new"])
            #expect(database.shard(of: bucket).name == move.target.id)
        }
    }

    @Test func `rows that come back are not read before they are complete`() async throws {
        let cluster = try await aCluster(shards: 2)
        let bucket = BucketID.all[0]
        try await cluster.put(Note(id: 1, text: "a"), in: bucket)
        let away = cluster.move(bucket)
        try await away.run()
        try await away.clean()
        // On its way back, half of it copied.
        let back = TestMove(
            bucket,
            from: away.target,
            to: away.source,
            tables: ["note"],
            number: 2
        )
        try await away.target.psql("INSERT INTO note VALUES (\(bucket), 2, 'b')")
        try await back.prepare()
        try await back.carry()
        try await away.source.psql("DELETE FROM note WHERE id = 2")

        try await withDatabase(cluster) { database in
            let found: [Note] = try await database.rows(Note.all(in: bucket), on: bucket)

            #expect(found.map(\.text) == ["a", "b"])
            #expect(database.shard(of: bucket).name == away.target.id)
        }
    }

    @Test func `a bucket given back after a failed move goes on being read`() async throws {
        let cluster = try await aCluster(shards: 2)
        let bucket = BucketID.all[0]
        try await cluster.put(Note(id: 1, text: "a"), in: bucket)
        let move = cluster.move(bucket)

        try await withDatabase(cluster) { database in
            _ = try await database.read(Note.all(in: bucket), on: bucket)
            try await move.prepare()
            try await move.fence()
            try await move.giveUp()

            let found: [Note] = try await database.rows(Note.all(in: bucket), on: bucket)
            #expect(found.map(\.text) == ["a"])
            // The read taught the new epoch, so that the write is not refused.
            try await database.write(on: bucket, [Note.insert(Note(id: 2, text: "b"), in: bucket)])
            #expect(database.statistics.refusals == 0)
        }
    }

    @Test func `a gather finds each key where it is`() async throws {
        let cluster = try await aCluster(shards: 2)
        let buckets = Array(BucketID.all.prefix(8))
        for bucket in buckets { try await cluster.put(Note(id: 1, text: "a"), in: bucket) }
        let move = cluster.move(buckets[2])

        let found: [Int16] = try await withDatabase(cluster) { database in
            let sql: ([BucketID]) -> SQL = {
                "SELECT bucket FROM note WHERE bucket = ANY(\($0.map(\.rawValue)))"
            }
            let before: [Int16] = try await database.gather(buckets, sql)
            #expect(before.sorted() == buckets.map(\.rawValue))
            try await move.run()
            return try await database.gather(buckets, sql)
        }

        // Each once, although the bucket's rows lie on both shards.
        #expect(found.sorted() == buckets.map(\.rawValue))
    }

    @Test func `an error of one read does not let another pass unchecked`() async throws {
        let cluster = try await aCluster(shards: 2)
        let bucket = BucketID.all[0]
        let other = cluster.map.buckets(of: cluster.map[bucket].shard)[1]
        try await cluster.put(Note(id: 1, text: "old"), in: bucket)
        let move = cluster.move(bucket)

        try await withDatabase(cluster) { database in
            _ = try await database.read(Note.all(in: bucket), on: bucket)
            try await move.run()
            try await move.target.psql("UPDATE note SET text = 'new' WHERE bucket = \(bucket)")

            async let good: [Note] = database.rows(Note.all(in: bucket), on: bucket)
            async let bad = fails("SELECT 1 / 0", on: other, database)

            let texts = try await good.map(\.text)
            #expect(texts == ["new"])
            let failed = await bad
            #expect(failed)
        }
    }

    @Test func `a shard that the map does not have is found by what its neighbour says`()
        async throws
    {
        let cluster = try await aCluster(shards: 2)
        let bucket = cluster.map.buckets(of: ShardID("s1")!)[0]
        try await cluster.put(Note(id: 1, text: "a"), in: bucket)
        let move = cluster.move(bucket)
        let line = cluster.shards[1].record.line
        try await cluster.shards[0].psql("SELECT control.put_shard_record('s2', '\(line)')")
        try await move.run()
        // An old map, from before s2 joined.
        let entries = BucketID.all.map { _ in ShardMap.Entry(shard: ShardID("s1")!) }
        let old = try ShardMap(
            generation: 1,
            entries: entries,
            shards: [cluster.shards[0].record]
        )

        try await withLoop { loop in
            let database = Database(
                loop: loop,
                map: old,
                settings: DatabaseSettings(user: "app", password: "app-secret")
            )
            let found: [Note] = try await database.rows(Note.all(in: bucket), on: bucket)
            try await database.write(on: bucket, [Note.insert(Note(id: 2, text: "b"), in: bucket)])

            #expect(found.map(\.text) == ["a"])
            #expect(database.shards.map(\.name) == ["s1", "s2"])
            #expect(database.statistics.refusals == 0)
            await database.close()
        }
        #expect(try await move.target.psql("SELECT count(*) FROM note") == "2")
    }

    @Test func `requests beyond the bound are not held`() async throws {
        let cluster = try await aCluster(shards: 2)
        let bucket = BucketID.all[0]
        let move = cluster.move(bucket)
        try await move.prepare()
        try await move.fence()
        try await move.carry()
        try await move.release()

        try await withDatabase(cluster, refusedLimit: 2) { database in
            let note = Note.insert(Note(id: 1, text: "a"), in: bucket)
            async let reading: [Note] = database.rows(Note.all(in: bucket), on: bucket)
            async let writing = database.write(on: bucket, [note])
            while database.statistics.held < 2 {
                try await database.loop.sleep(for: .milliseconds(1))
            }

            let error = await #expect(throws: DatabaseError.self) {
                let _: [Note] = try await database.rows(Note.all(in: bucket), on: bucket)
            }
            #expect(error?.isRetryable == true)
            #expect(database.statistics.held == 3)

            try await move.activate()
            _ = try await (reading, writing)
        }
        #expect(try await move.target.psql("SELECT count(*) FROM note") == "1")
    }

    @Test func `no read is stale and no write is lost while a bucket goes to and fro`() async throws
    {
        let cluster = try await aCluster(shards: 2)
        let bucket = BucketID.all[0]
        let started = cluster.shard(of: bucket)
        let other = cluster.shards.first { $0.id != started.id }!

        // Long, since the steps of these moves are processes that a busy machine keeps waiting.
        let written = try await withDatabase(cluster, refusalDeadline: .seconds(60)) { database in
            let journal = Journal()
            async let writing: Void = write(journal, bucket, database)
            async let reading: Void = readBack(journal, bucket, database)
            do {
                for number in 1...4 {
                    let (from, to) = number % 2 == 1 ? (started, other) : (other, started)
                    let move = TestMove(
                        bucket,
                        from: from,
                        to: to,
                        tables: ["note"],
                        number: number
                    )
                    try await move.run()
                    try await move.clean()
                }
            } catch {
                Issue.record("the bucket did not move: \(error)")
            }
            journal.isOver = true
            _ = try await (writing, reading)
            #expect(journal.reads > 0)
            return journal.written
        }

        #expect(written > 0)
        #expect(try await started.psql("SELECT count(*) FROM note") == "\(written)")
        #expect(try await other.psql("SELECT count(*) FROM note") == "0")
    }

    private func fails(_ sql: SQL, on bucket: BucketID, _ database: Database) async -> Bool {
        do {
            _ = try await database.read(sql, on: bucket)
            return false
        } catch {
            return true
        }
    }

    private func write(
        _ journal: Journal,
        _ bucket: BucketID,
        _ database: Database
    ) async throws {
        defer { journal.isOver = true }
        while !journal.isOver {
            let note = Note(id: journal.written + 1, text: "n")
            try await database.write(on: bucket, [Note.insert(note, in: bucket)])
            journal.written += 1
        }
    }

    /// Every read must show all that was acknowledged before it began.
    private func readBack(
        _ journal: Journal,
        _ bucket: BucketID,
        _ database: Database
    ) async throws {
        defer { journal.isOver = true }
        while !journal.isOver {
            let acknowledged = journal.written
            let count: Int64? = try await database.row(
                "SELECT count(*) FROM note WHERE bucket = \(bucket)",
                on: bucket
            )
            #expect(count.map { $0 >= acknowledged } == true)
            journal.reads += 1
        }
    }

    /// What a writer and a reader on one loop say to each other.
    private final class Journal: @unchecked Sendable {
        // @unchecked: touched on one loop only.
        var written: Int64 = 0
        var reads = 0
        var isOver = false
    }
}

extension TestCluster {
    fileprivate func put(_ note: Note, in bucket: BucketID) async throws {
        try await shard(of: bucket).psql(
            "INSERT INTO note VALUES (\(bucket), \(note.id), '\(note.text)')"
        )
    }

    /// A move of the bucket to the other of two shards.
    fileprivate func move(_ bucket: BucketID, number: Int = 1) -> TestMove {
        let source = shard(of: bucket)
        return TestMove(
            bucket,
            from: source,
            to: shards.first { $0.id != source.id }!,
            tables: ["note"],
            number: number
        )
    }
}
