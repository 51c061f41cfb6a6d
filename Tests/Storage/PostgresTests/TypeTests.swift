import EventLoops
import Postgres
import Sharding
import TestSupport
import Testing

private struct ProbeID: RoutedID {
    let rawValue: Int64
}

private func echo<T: PostgresBindable & PostgresDecodable>(
    _ value: T,
    _ pool: PostgresPool
) async throws -> T {
    let rows = try await pool.read("SELECT \(value)")
    return try rows.first(as: Echo<T>.self)!.value
}

private struct Echo<T: PostgresDecodable & Sendable>: RowDecodable {
    let value: T

    init(row: inout Row) throws(DatabaseError) { value = try row.next() }
}

private func expectEcho<T: PostgresBindable & PostgresDecodable & Equatable>(
    _ values: T...,
    through pool: PostgresPool,
    line: SourceLocation = #_sourceLocation
) async throws {
    for value in values {
        let back = try await echo(value, pool)
        #expect(back == value, sourceLocation: line)
    }
}

struct PostgresTypes {
    @Test func `every scalar comes back as it went`() async throws {
        try await withPool { pool in
            try await expectEcho(Int16.min, 0, .max, through: pool)
            try await expectEcho(Int32.min, 0, .max, through: pool)
            try await expectEcho(Int64.min, 0, .max, through: pool)
            try await expectEcho(Int.min, -1, .max, through: pool)
            try await expectEcho(-0.0, .pi, .infinity, .leastNonzeroMagnitude, through: pool)
            try await expectEcho(true, false, through: pool)
            try await expectEcho("", "żółw 🐢", "a'b\"c\\d\n", through: pool)
            try await expectEcho([UInt8](), [0, 255, 0, 1], through: pool)
            try await expectEcho(JSONText(#"{"a": [1, null]}"#), through: pool)
            try await expectEcho(
                Timestamp(microseconds: 0),
                Timestamp(microseconds: -1),
                Timestamp(iso8601: "2026-11-21T12:00:00.123456Z")!,
                through: pool
            )
            try await expectEcho(BucketID(rawValue: 0)!, BucketID(rawValue: 1023)!, through: pool)
        }
    }

    @Test func `NULL comes back as nil`() async throws {
        try await withPool { pool in
            try await expectEcho(nil as Int64?, 5, through: pool)
            try await expectEcho(nil as String?, "", through: pool)
            try await expectEcho(nil as [UInt8]?, [], through: pool)
            try await expectEcho(nil as Timestamp?, through: pool)
        }
    }

    @Test func `every array comes back as it went`() async throws {
        try await withPool { pool in
            try await expectEcho([Int16](), [1, -1], through: pool)
            try await expectEcho([Int32](), [1, -1], through: pool)
            try await expectEcho([Int64](), [.min, .max], through: pool)
            try await expectEcho([Int](), Array(0..<5_000), through: pool)
            try await expectEcho([true, false], through: pool)
            try await expectEcho([1.5, -2.5], through: pool)
            try await expectEcho(["", "NULL", "{,}\"", "🐢"], through: pool)
            try await expectEcho([[UInt8]](), [[], [0], [1, 2, 3]], through: pool)
            try await expectEcho([JSONText("1"), JSONText("{}")], through: pool)
            try await expectEcho([Timestamp(microseconds: 7)], through: pool)
            try await expectEcho([BucketID(rawValue: 7)!], through: pool)
            try await expectEcho([1, nil, 3] as [Int64?], through: pool)
            try await expectEcho([nil, "x"] as [String?], through: pool)
        }
    }

    @Test func `ids bind and decode as bigint`() async throws {
        try await withPool { pool in
            let ids = [ProbeID(rawValue: 1), ProbeID(rawValue: .max)]

            let rows = try await pool.read("SELECT * FROM unnest(\(ids)) WITH ORDINALITY")
            let pair = try rows.map { (row) throws(DatabaseError) in
                (try row.next(ProbeID.self), try row.next(Int.self))
            }
            let both = try await pool.read("SELECT \(ids[0]), \(nil as ProbeID?), \(ids)")

            #expect(pair.map(\.0) == ids)
            #expect(try rows.decode(as: ProbeID.self) == ids)
            try both.read(0) { (row) throws(DatabaseError) in
                #expect(try row.next(ProbeID.self) == ids[0])
                #expect(try row.next(ProbeID?.self) == nil)
                #expect(try row.next([ProbeID].self) == ids)
            }
        }
    }

    @Test func `narrow integers are read as wide ones, wide ones never as narrow`() async throws {
        try await withPool { pool in
            let narrow = try await pool.read("SELECT 7::smallint, 7::integer")
            let wide = try await pool.read("SELECT 7::bigint")

            let both = try narrow.map { (row) throws(DatabaseError) in
                (try row.next(Int.self), try row.next(Int64.self))
            }
            #expect(both[0] == (7, 7))
            #expect(throws: DatabaseError.self) { try wide.first(as: Int32.self) }
        }
    }

    @Test func `a column of another type, NULL and a missing column are decoding errors`()
        async throws
    {
        try await withPool { pool in
            let rows = try await pool.read("SELECT 'x'::text AS a, NULL::bigint AS b")

            #expect(throws: DatabaseError.decoding("column a has type 25, wanted Int64")) {
                try rows.first(as: Int64.self)
            }
            #expect(throws: DatabaseError.decoding("column b is NULL, wanted Int64")) {
                try rows.read(0) { (row) throws(DatabaseError) in
                    try row.skip()
                    _ = try row.next(Int64.self)
                }
            }
            #expect(throws: DatabaseError.decoding("the row has only 2 columns")) {
                try rows.read(0) { (row) throws(DatabaseError) in
                    for _ in 0..<3 { try row.skip() }
                }
            }
        }
    }

    @Test func `the common types have readers of their own, for values and for NULL`() async throws
    {
        let time = Timestamp(iso8601: "2026-11-21T12:00:00.123456Z")!
        try await withPool { pool in
            let rows = try await pool.read(
                """
                SELECT true, 1::smallint, 2::integer, 3::bigint, 4::bigint, 'żółw', \(time)
                UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL
                """
            )

            try rows.read(0) { (row) throws(DatabaseError) in
                #expect(try row.next(Bool.self))
                #expect(try row.next(Int16.self) == 1)
                #expect(try row.next(Int32.self) == 2)
                #expect(try row.next(Int64.self) == 3)
                #expect(try row.next(Int.self) == 4)
                #expect(try row.next(String.self) == "żółw")
                #expect(try row.next(Timestamp.self) == time)
            }
            for index in 0..<2 {
                try rows.read(index) { (row) throws(DatabaseError) in
                    #expect(try row.next(Bool?.self) == (index == 0 ? true : nil))
                    #expect(try row.next(Int16?.self) == (index == 0 ? 1 : nil))
                    #expect(try row.next(Int32?.self) == (index == 0 ? 2 : nil))
                    #expect(try row.next(Int64?.self) == (index == 0 ? 3 : nil))
                    #expect(try row.next(Int?.self) == (index == 0 ? 4 : nil))
                    #expect(try row.next(String?.self) == (index == 0 ? "żółw" : nil))
                    #expect(try row.next(Timestamp?.self) == (index == 0 ? time : nil))
                }
            }
            for column in 0..<7 {
                #expect(throws: DatabaseError.self) {
                    try rows.read(1) { (row) throws(DatabaseError) in
                        for _ in 0..<column { try row.skip() }
                        switch column {
                        case 0: _ = try row.next(Bool.self)
                        case 1: _ = try row.next(Int16.self)
                        case 2: _ = try row.next(Int32.self)
                        case 3: _ = try row.next(Int64.self)
                        case 4: _ = try row.next(Int.self)
                        case 5: _ = try row.next(String.self)
                        default: _ = try row.next(Timestamp.self)
                        }
                    }
                }
            }
        }
    }

    @Test func `rows and their texts can be read in place`() async throws {
        try await withPool { pool in
            let rows = try await pool.read(
                "SELECT n, repeat('ż', n) FROM generate_series(0, 3) AS n ORDER BY n DESC"
            )
            var seen: [String] = []

            try rows.forEach { (row) throws(DatabaseError) in
                let number: Int = try row.next()
                let text = try row.text { String(decoding: $0, as: UTF8.self) }
                seen.append("\(number)\(text)")
            }

            #expect(seen == ["3żżż", "2żż", "1ż", "0"])
            #expect(throws: DatabaseError.decoding("column n has type 23, wanted String")) {
                try rows.forEach { (row) throws(DatabaseError) in try row.text { _ in } }
            }
        }
    }

    @Test func `affected counts what a statement touched`() async throws {
        try await withPool { pool in
            let answers = try await pool.write([
                "CREATE TABLE touched (id bigint)",
                "INSERT INTO touched SELECT * FROM unnest(\([1, 2, 3]))",
                "UPDATE touched SET id = id + \(1) WHERE id > \(1)",
                "DELETE FROM touched WHERE id = \(99)",
            ])

            #expect(answers.map(\.affected) == [0, 3, 2, 0])
        }
    }
}
