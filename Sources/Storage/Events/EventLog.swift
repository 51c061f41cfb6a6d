import Database
import Postgres
import Sharding

/// The streams of users: each one's events in an order that apps resume from, on the user's shard.
///
/// Only who listens has a stream: events of others are not written. The bus tells that there is something new; what
/// it is, and that nothing is missing, is read here.
package struct EventLog: Sendable {
    /// Events of one user that are kept; `events.append` keeps to it.
    package static let kept: Int64 = 1_000
    /// Events of one user that one read gives.
    package static let pageLimit = 200
    /// How long a stream is written without anybody saying that they listen; `events.append` keeps to it.
    package static let listenTime = Duration.seconds(86_400)
    /// How old a word that somebody listens may become before it is said again.
    package static let renewal = Duration.seconds(3_600)

    private let database: Database

    package init(database: Database) {
        self.database = database
    }

    // MARK: Writing

    /// Appends events inside of a write on the users' shard: one for each row of `rows`, a common table expression
    /// with the columns `user_id, kind, subject, version`.
    ///
    /// The statement goes behind its `WITH`; it answers with the users who have something new and their newest seq.
    package static func append(forEach rows: StaticString) -> SQL {
        """
        SELECT a.user_id, a.seq
        FROM (
            SELECT array_agg(user_id) AS users, array_agg(kind) AS kinds,
                array_agg(subject) AS subjects, array_agg(version) AS versions
            FROM \(unsafe: "\(rows)")
        ) AS g
        CROSS JOIN LATERAL events.append(g.users, g.kinds, g.subjects, g.versions) AS a
        """
    }

    /// Appends one event to the streams of those users who listen; gives their new places.
    ///
    /// Repeating it changes nothing. The users lie on any shards; those whose shard does not answer make it throw,
    /// after the others have theirs.
    package func append(
        _ kind: UserEvent.Kind,
        _ subject: some RoutedID,
        version: Int64 = 0,
        to users: [some RoutedID]
    ) async throws(DatabaseError) -> [EventHint] {
        let listeners = try await listeners(among: users)
        var hints: [EventHint] = []
        for group in database.grouped(listeners.map { StreamPlace(user: $0, seq: 0) }) {
            let users = group.keys.map(\.user)
            let rows = try await database.write(
                on: Set(group.keys.map(\.bucket)).sorted(),
                [
                    """
                    SELECT user_id, seq
                    FROM events.append(
                        \(users)::bigint[],
                        \(users.map { _ in kind.rawValue })::smallint[],
                        \(users.map { _ in subject.rawValue })::bigint[],
                        \(users.map { _ in version })::bigint[]
                    )
                    """
                ]
            )
            hints += try rows[0].decode(as: EventHint.self)
        }
        return hints
    }

    /// Nearly nobody listens: reading that is cheaper than a write which finds nobody.
    private func listeners(
        among users: [some RoutedID]
    ) async throws(DatabaseError) -> [Listener] {
        let places = users.map { StreamPlace(user: $0, seq: 0) }
        let found: [Int64] = try await database.gather(places) { places in
            """
            SELECT w.id
            FROM unnest(\(places.map(\.user))::bigint[]) AS w (id)
            WHERE (
                SELECT s.listened_at > now() - interval '1 day'
                FROM events.stream AS s
                WHERE s.bucket = ((w.id >> 6) & 1023)::smallint AND s.user_id = w.id
            )
            """
        }
        return found.map(Listener.init(rawValue:))
    }

    // MARK: Listening

    /// Begins, or goes on, to write a user's stream; to be said again after ``renewal``.
    package func listen(_ user: some RoutedID) async throws(DatabaseError) -> StreamState {
        if let known: StreamState = try await database.row(
            """
            SELECT seq, floor
            FROM events.stream
            WHERE bucket = \(user.bucket) AND user_id = \(user.rawValue)
                AND listened_at > now() - \(Self.renewal.seconds)::float8 * interval '1 second'
            """,
            on: user
        ) {
            return known
        }
        // Whoever was away for so long that nothing was written must not believe that nothing has happened. An hour
        // less than the time after which writing stops: clocks and transactions under way are on the safe side.
        let rows = try await database.write(
            on: user,
            [
                """
                INSERT INTO events.stream AS s (bucket, user_id)
                VALUES (\(user.bucket), \(user.rawValue))
                ON CONFLICT (bucket, user_id) DO UPDATE
                SET seq = s.seq + (s.listened_at < now() - interval '23 hours')::integer,
                    floor = CASE
                        WHEN s.listened_at < now() - interval '23 hours' THEN s.seq + 1
                        ELSE s.floor
                    END,
                    listened_at = now()
                RETURNING seq, floor
                """
            ]
        )
        return try rows[0].decode(as: StreamState.self)[0]
    }

    /// What has come into these streams since, of each at most ``pageLimit``, in order; shards that do not answer are
    /// left out.
    package func events(after places: [StreamPlace]) async -> [UserEvent] {
        let found: (rows: [UserEvent], missing: [ShardID]) = await database.gatherAvailable(
            places
        ) { places in
            """
            SELECT e.user_id, e.seq, e.kind, e.subject
            FROM unnest(\(places.map(\.user))::bigint[], \(places.map(\.seq))::bigint[])
                AS w (user_id, seq)
            CROSS JOIN LATERAL (
                SELECT e.user_id, e.seq, e.kind, e.subject
                FROM events.user_event AS e
                WHERE e.bucket = ((w.user_id >> 6) & 1023)::smallint AND e.user_id = w.user_id
                    AND e.seq > w.seq
                ORDER BY e.seq
                LIMIT \(Self.pageLimit)
            ) AS e
            """
        }
        return found.rows.sorted { ($0.user, $0.seq) < ($1.user, $1.seq) }
    }
}

/// Where a stream stands.
package struct StreamState: RowDecodable, Sendable, Equatable {
    /// The newest event's place.
    package let seq: Int64
    /// The least place from which nothing is missing.
    package let floor: Int64

    package init(row: inout Row) throws(DatabaseError) {
        seq = try row.next()
        floor = max(try row.next(), seq - EventLog.kept)
    }

    /// Whether all that came after `place` is still there.
    package func reaches(back place: Int64) -> Bool { place >= floor && place <= seq }
}

/// That a user's stream has something new: where it stands now.
package struct EventHint: RowDecodable, Sendable, Equatable {
    package let user: Int64
    package let seq: Int64

    package init(row: inout Row) throws(DatabaseError) {
        user = try row.next()
        seq = try row.next()
    }
}

private struct Listener: RoutedID {
    let rawValue: Int64
}

extension Duration {
    fileprivate var seconds: Double { Double(components.seconds) }
}
