import Database
import Events
import EventLoops
import Postgres
import Sharding
import Shards
import TestSupport
import Testing

struct EventLogTests {
    private struct User: RoutedID {
        let rawValue: Int64
    }

    private struct Subject: RoutedID {
        let rawValue: Int64
    }

    private static func user(_ number: Int) -> User {
        let bucket = BucketID(rawValue: number % BucketID.count)!
        return User(rawValue: HybridClock.id(reading: Int64(number + 1) << 20, bucket: bucket))
    }

    private static func run(
        _ body:
            @escaping @Sendable (TestCluster, _ app: EventLog, _ worker: EventLog)
            async throws -> Void
    ) async throws {
        let shards = try await TestCluster.make(shards: 2, modules: ["Events"])
        try await shards.run { app, worker in
            try await body(shards, EventLog(database: app), EventLog(database: worker))
        }
    }

    private static func subjects(_ events: [UserEvent]) -> [Int64] { events.map(\.subject) }

    @Test func `events come in the order in which they were given, each once`() async throws {
        try await Self.run { _, app, worker in
            let ann = Self.user(1), ben = Self.user(2)
            let start = try await app.listen(ann)
            _ = try await app.listen(ben)

            for number in 1...3 {
                _ = try await worker.append(
                    .update,
                    Subject(rawValue: Int64(number)),
                    to: [ann, ben]
                )
            }
            let again = try await worker.append(.update, Subject(rawValue: 2), to: [ann, ben])
            let other = try await worker.append(.delete, Subject(rawValue: 2), to: [ann])

            let events = await app.events(after: [StreamPlace(user: ann, seq: start.seq)])
            #expect(Self.subjects(events) == [1, 2, 3, 2])
            #expect(events.map(\.seq) == [1, 2, 3, 4])
            #expect(events.map(\.kind) == [.update, .update, .update, .delete])
            #expect(again.isEmpty)
            #expect(other == other.filter { $0.user == ann.rawValue && $0.seq == 4 })
            let late = await app.events(after: [StreamPlace(user: ben, seq: 2)])
            #expect(Self.subjects(late) == [3])
        }
    }

    @Test func `nothing is written for who does not listen`() async throws {
        try await Self.run { shards, app, worker in
            let ann = Self.user(1)

            let hints = try await worker.append(.update, Subject(rawValue: 1), to: [ann])

            #expect(hints.isEmpty)
            let rows = try await shards.psqlOnEveryShard("SELECT count(*) FROM events.user_event")
            #expect(rows == ["0", "0"])
        }
    }

    @Test func `who was away for too long is told so`() async throws {
        try await Self.run { shards, app, worker in
            let ann = Self.user(1)
            _ = try await app.listen(ann)
            _ = try await worker.append(.update, Subject(rawValue: 1), to: [ann])
            try await shards.psql(
                ann,
                "UPDATE events.stream SET listened_at = now() - interval '2 days'"
            )
            _ = try await worker.append(.update, Subject(rawValue: 2), to: [ann])

            let state = try await app.listen(ann)
            _ = try await worker.append(.update, Subject(rawValue: 3), to: [ann])
            let again = try await app.listen(ann)

            #expect(!state.reaches(back: 1))
            #expect(state.reaches(back: state.seq))
            #expect(again.reaches(back: state.seq))
            #expect(!again.reaches(back: again.seq + 1))
        }
    }

    @Test func `a stream keeps its newest events`() async throws {
        try await Self.run { shards, app, worker in
            let ann = Self.user(1)
            _ = try await app.listen(ann)
            let bucket = ann.bucket
            for part in 0..<3 {
                try await shards.psql(
                    ann,
                    """
                    SELECT count(*) FROM events.append(
                        (SELECT array_agg(\(ann.rawValue)::bigint) FROM generate_series(1, 500)),
                        (SELECT array_agg(2::smallint) FROM generate_series(1, 500)),
                        (SELECT array_agg(n::bigint + \(part * 500)) FROM generate_series(1, 500) AS n),
                        (SELECT array_agg(0::bigint) FROM generate_series(1, 500)))
                    """
                )
            }

            let rows = try await shards.psql(
                ann,
                "SELECT count(*), min(seq), max(seq) FROM events.user_event WHERE bucket = \(bucket)"
            )
            let state = try await app.listen(ann)

            #expect(
                rows.split(separator: "|").map { $0.filter(\.isNumber) } == ["1000", "501", "1500"]
            )
            #expect(state.seq == 1_500)
            #expect(state.reaches(back: 500) && !state.reaches(back: 499))
        }
    }

    @Test func `a reader who follows the places misses nothing of many writers`() async throws {
        try await Self.run { _, app, worker in
            let ann = Self.user(1), ben = Self.user(1 + BucketID.count)
            _ = try await app.listen(ann)
            _ = try await app.listen(ben)
            let writers = 4, events = 30

            let seen = try await withThrowingTaskGroup(of: [Int64]?.self) { group in
                for writer in 0..<writers {
                    group.addTask {
                        for number in 0..<events {
                            let subject = Subject(rawValue: Int64(writer * 1_000 + number + 1))
                            // Both ways round, which would wait for each other without an order of locks.
                            let users = number % 2 == 0 ? [ann, ben] : [ben, ann]
                            _ = try await worker.append(.update, subject, to: users)
                        }
                        return nil
                    }
                }
                group.addTask {
                    var seen: [Int64] = []
                    var place: Int64 = 0
                    while seen.count < writers * events {
                        let new = await app.events(after: [StreamPlace(user: ann, seq: place)])
                        seen += new.map(\.subject)
                        place = new.last?.seq ?? place
                    }
                    return seen
                }
                var seen: [Int64] = []
                for try await result in group { seen += result ?? [] }
                return seen
            }

            #expect(seen.count == writers * events)
            #expect(Set(seen).count == writers * events)
            // Each writer's own events in the order in which it wrote them.
            for writer in 0..<writers {
                let own = seen.filter { $0 / 1_000 == Int64(writer) }
                #expect(own == own.sorted())
            }
        }
    }
}
