import Sharding
import TestSupport
import Testing

struct IdentifierTests {
    @Test func `ids of concurrent bulk inserts are distinct and each batch is ordered`()
        async throws
    {
        let shard = try await TestShard.make()

        let batches = try await withThrowingTaskGroup(of: [Int64].self) { group in
            for writer in 0..<8 {
                group.addTask {
                    try await shard.psql(
                        """
                        SELECT control.next_ids(\(writer)::smallint, 1 + (n * 37) % 500)
                        FROM generate_series(1, 20) AS n
                        """,
                        user: "app"
                    ).split(separator: "\n").compactMap { Int64($0) }
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }

        let readings = batches.joined().map(reading)
        let wanted = (1...20).map { n in 1 + (n * 37) % 500 }
        #expect(readings.count == 8 * wanted.reduce(0, +))
        #expect(Set(readings).count == readings.count, "a reading was given out twice")
        #expect(batches.allSatisfy { $0 == $0.sorted() })
        #expect(batches.allSatisfy { ids in Set(ids.map { ($0 >> 6) & 1_023 }).count == 1 })
    }

    @Test func `a clock set back neither repeats nor reverses an id`() async throws {
        let shard = try await TestShard.make()

        let readings = try await shard.psql(
            """
            SELECT control.take_readings(10, 2000000);
            SELECT control.take_readings(1, 1000000);
            SELECT control.take_readings(1, 2000000);
            SELECT control.take_readings(1, 3000000);
            """
        )

        let first = 2_000_000 * 64
        #expect(readings == "\(first)\n\(first + 10)\n\(first + 11)\n\(3_000_000 * 64)")
    }

    @Test func `an id agrees with the arithmetic in Swift and with the wall clock`() async throws {
        let shard = try await TestShard.make()
        let before = Timestamp.now.milliseconds

        let id = try #require(
            Int64(try await shard.psql("SELECT control.next_id(1023::smallint)", user: "app"))
        )

        #expect(HybridClock.id(reading: reading(id), bucket: BucketID(rawValue: 1_023)!) == id)
        #expect((before - 1...Timestamp.now.milliseconds + 1).contains(id >> 16))
    }

    @Test func `a raised clock is passed, as on a shard that took over a bucket`() async throws {
        let shard = try await TestShard.make()
        let future = Timestamp.now.milliseconds + 3_600_000

        let id = try await shard.psql(
            """
            SELECT control.raise_clock(\(future * 64));
            SELECT control.raise_clock(5);
            SELECT control.next_id(1::smallint);
            """
        )

        #expect(Int64(id.split(separator: "\n").last ?? "").map { $0 >> 16 } == future)
    }

    @Test func `a cancelled or failed caller leaves no lock behind`() async throws {
        let shard = try await TestShard.make()

        let locks = try await shard.psql(
            """
            BEGIN;
            SELECT control.take_readings(1, 1);
            SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
            ROLLBACK;
            SET statement_timeout = '50ms';
            DO $$ BEGIN
                LOOP PERFORM control.take_readings(1, 1); END LOOP;
            EXCEPTION WHEN query_canceled THEN NULL;
            END $$;
            RESET statement_timeout;
            SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
            """
        )

        #expect(locks.hasSuffix("\n0"))
        #expect(locks.split(separator: "\n").dropFirst().allSatisfy { $0 == "0" })
    }

    @Test(arguments: [0, -1, 10_001])
    func `a batch has bounds`(count: Int) async throws {
        let shard = try await TestShard.make()

        await #expect(throws: TestSupportError.self) {
            try await shard.psql("SELECT control.next_ids(1::smallint, \(count))")
        }
    }

    @Test func `app cannot set the clock or change owners`() async throws {
        let shard = try await TestShard.make()

        for sql in [
            "SELECT setval('control.clock', 1)", "SELECT control.raise_clock(1)",
            "UPDATE control.bucket_owner SET state = 'own'", "DELETE FROM control.migration",
        ] {
            await #expect(throws: TestSupportError.self, "\(sql)") {
                try await shard.psql(sql, user: "app")
            }
        }
    }
}

/// The clock's reading that an id was made from.
private func reading(_ id: Int64) -> Int64 { ((id >> 16) << 6) | (id & 63) }
