import Database
import EventLoops
import Postgres
import Sharding
import TestSupport
import Testing

/// Many small writes in few transactions, each answered as if it were alone.
@Suite struct `Grouped writes` {
    private struct Entry: Routed {
        var note: Note
        let bucket: BucketID
        /// What no two writes of a group share.
        var key: Int64

        init(_ id: Int64, _ text: String = "x", in bucket: BucketID, key: Int64? = nil) {
            note = Note(id: id, text: text)
            self.bucket = bucket
            self.key = key ?? id
        }
    }

    private typealias Notes = GroupedWrites<Entry, Int64, String>

    /// Each write is answered with its own text, as the row has it.
    private func notes(_ database: Database) -> Notes {
        GroupedWrites(
            database: database,
            key: { $0.key },
            statements: { entries in
                [
                    """
                    INSERT INTO note (bucket, id, text)
                    SELECT bucket, id, nullif(text, '')
                    FROM unnest(
                        \(entries.map(\.bucket))::smallint[], \(entries.map(\.note.id))::bigint[],
                        \(entries.map(\.note.text))::text[]
                    ) WITH ORDINALITY AS n (bucket, id, text, number)
                    ORDER BY number
                    RETURNING text
                    """
                ]
            },
            answers: { _, rows throws(DatabaseError) in try rows[0].decode(as: String.self) }
        )
    }

    private enum Outcome: Equatable {
        case text(String)
        case failed(DatabaseError)
    }

    private func outcome(of entry: Entry, _ notes: Notes) async -> Outcome {
        do throws(DatabaseError) {
            return .text(try await notes.write(entry))
        } catch {
            return .failed(error)
        }
    }

    /// All at once, as requests of one turn are.
    private func write(_ entries: [Entry], _ notes: Notes) async -> [Outcome] {
        await withTaskGroup(of: (Int, Outcome).self) { group in
            for (index, entry) in entries.enumerated() {
                group.addTask { (index, await self.outcome(of: entry, notes)) }
            }
            var all: [Int: Outcome] = [:]
            for await (index, outcome) in group { all[index] = outcome }
            return entries.indices.compactMap { all[$0] }
        }
    }

    @Test func `what comes at once shares transactions, and each gets its own answer`() async throws
    {
        let cluster = try await aCluster(shards: 2)
        let entries = (1...500).map { number in
            Entry(Int64(number), "text \(number)", in: BucketID.all[number % 40])
        }

        try await withDatabase(cluster) { database in
            let notes = self.notes(database)
            let outcomes = await self.write(entries, notes)
            let together = try await notes.write(
                (501...600).map { Entry($0, "\($0)", in: BucketID.all[Int($0) % 40]) }
            )

            #expect(outcomes == entries.map { .text($0.note.text) })
            #expect(together == (501...600).map { "\($0)" })
            #expect(notes.transactions < 20)
        }
        var rows = 0
        for shard in cluster.shards {
            rows += Int(try await shard.psql("SELECT count(*) FROM note")) ?? 0
        }
        #expect(rows == 600)
    }

    @Test func `rows that are refused fail alone`() async throws {
        let cluster = try await aCluster(shards: 1)
        let bucket = BucketID.all[3]

        try await withDatabase(cluster) { database in
            try await database.write(on: bucket, [Note.insert(Note(id: 7, text: "a"), in: bucket)])
            let notes = self.notes(database)
            var entries = (1...60).map { Entry(Int64($0), in: bucket) }
            entries[40] = Entry(41, "", in: bucket)

            let outcomes = await self.write(entries, notes)

            for (index, outcome) in outcomes.enumerated() {
                switch index {
                case 6: #expect(outcome == .failed(.uniqueViolation(constraint: "note_pkey")))
                case 40: #expect(outcome == .failed(.notNullViolation(column: "text")))
                default: #expect(outcome == .text("x"))
                }
            }
            let rows: [Note] = try await database.rows(Note.all(in: bucket), on: bucket)
            #expect(rows.count == 59)
            #expect(notes.transactions < 40)
        }
    }

    @Test func `those of one key go one after the other, and keep nobody else waiting`()
        async throws
    {
        let cluster = try await aCluster(shards: 1)
        let bucket = BucketID.all[3]
        let same = (1...20).map { Entry(Int64($0), "\($0)", in: bucket, key: 1) }
        let others = (100...150).map { Entry(Int64($0), in: bucket) }

        try await withDatabase(cluster) { database in
            let notes = self.notes(database)
            let outcomes = await self.write(same + others, notes)

            #expect(outcomes.allSatisfy { if case .text = $0 { true } else { false } })
            #expect((20...25).contains(notes.transactions), "\(notes.transactions)")
        }
    }

    @Test func `writes of a bucket between two owners wait alone`() async throws {
        let cluster = try await aCluster(shards: 2)
        let bucket = BucketID.all[0]
        let from = cluster.shard(of: bucket)
        let to = cluster.shards.first { $0.id != from.id }!
        let others = cluster.map.buckets(of: ShardID(from.id)!).filter { $0 != bucket }.prefix(9)
        try await from.psql(
            """
            UPDATE control.bucket_owner SET state = 'released', attempt = 'a', next_shard = '\(to.id)'
            WHERE bucket = \(bucket)
            """
        )

        try await withDatabase(cluster) { database in
            let notes = self.notes(database)
            async let held = self.write((1...5).map { Entry($0, in: bucket) }, notes)
            let passed = await self.write(
                others.enumerated().map { Entry(Int64(100 + $0.offset), in: $0.element) },
                notes
            )
            while database.heldCount == 0 {
                try await database.loop.sleep(for: .milliseconds(5))
            }
            try await to.psql(
                """
                UPDATE control.bucket_owner SET state = 'own', epoch = 2, next_shard = NULL
                WHERE bucket = \(bucket)
                """
            )

            #expect(passed == others.map { _ in .text("x") })
            #expect(await held == (1...5).map { _ in .text("x") })
        }
        #expect(try await to.psql("SELECT count(*) FROM note") == "5")
    }

    @Test func `a shard that is down fails its own, at once`() async throws {
        let cluster = try await aCluster(shards: 2, ownServers: true)
        let (lost, left) = (cluster.shards[0], cluster.shards[1])
        await lost.server.process.stop()
        let entries = BucketID.all.prefix(60).map { Entry(Int64($0.rawValue), in: $0) }

        try await withDatabase(cluster) { database in
            let outcomes = await self.write(entries, self.notes(database))

            for (entry, outcome) in zip(entries, outcomes) {
                let isLost = cluster.shard(of: entry.bucket).id == lost.id
                #expect((outcome == .text("x")) != isLost)
            }
        }
        await left.server.process.stop()
    }
}
