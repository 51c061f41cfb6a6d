import Contracts
import Database
import Events
import JSON
import Postgres
import ServiceKit
import Sharding

/// Every statement on a user's notifications; each is on the shard of that user.
struct NotificationStore: Sendable {
    /// Notifications of one kind that a user keeps; older ones are deleted.
    static let kept = 1_000
    /// Accounts that a group names.
    static let sampleLimit = 8

    let database: Database

    // MARK: Writing, for workers

    /// Writes what these effects of one shard say, each cause once, and tells the streams of their recipients.
    ///
    /// `trims` are recipients and kinds of which old rows are deleted by the way.
    func write(
        _ causes: [NotificationEffect],
        trims: [(recipient: UserID, kind: NotificationKind)],
        holds: Bool
    ) async throws(DatabaseError) -> [EventHint] {
        let buckets = Set(causes.map(\.recipient.bucket)).sorted()
        let rows = try await database.write(
            on: buckets,
            holds: holds,
            [Self.insertion(of: causes)] + trims.map(Self.trim)
        )
        return try rows[0].decode(as: EventHint.self)
    }

    /// Rows are taken in the order of their keys, so that two batches cannot wait for each other.
    private static func insertion(of causes: [NotificationEffect]) -> SQL {
        """
        WITH wanted AS (
            SELECT ((w.recipient >> 6) & 1023)::smallint AS bucket, w.*
            FROM unnest(
                \(causes.map(\.recipient.rawValue))::bigint[],
                \(causes.map(\.kind.number))::smallint[],
                \(causes.map(\.subject))::bigint[],
                \(causes.map(\.actor.rawValue))::bigint[],
                \(causes.map(\.version))::bigint[],
                \(causes.map(\.active))::boolean[]
            ) AS w (recipient, kind, subject, actor, version, active)
        ), changed AS (
            INSERT INTO notifications.notification AS n
                (bucket, recipient, kind, subject, actor, id, version, active)
            SELECT bucket, recipient, kind, subject, actor, control.next_id(bucket), version, active
            FROM wanted
            ORDER BY bucket, recipient, kind, subject, actor
            ON CONFLICT (bucket, recipient, kind, subject, actor) DO UPDATE
            SET version = excluded.version, active = excluded.active,
                id = CASE WHEN excluded.active THEN excluded.id ELSE n.id END,
                created_at = CASE WHEN excluded.active THEN now() ELSE n.created_at END
            WHERE n.version < excluded.version
            RETURNING recipient, id, active
        ), fresh AS (
            SELECT recipient AS user_id, \(UserEvent.Kind.notification.rawValue)::smallint AS kind,
                id AS subject, 0::bigint AS version
            FROM changed
            WHERE active
            ORDER BY id
        )
        \(fragment: EventLog.append(forEach: "fresh"))
        """
    }

    private static func trim(_ recipient: UserID, _ kind: NotificationKind) -> SQL {
        """
        DELETE FROM notifications.notification
        WHERE bucket = \(recipient.bucket) AND recipient = \(recipient) AND kind = \(kind.number)
            AND id <= (
                SELECT id
                FROM notifications.notification
                WHERE bucket = \(recipient.bucket) AND recipient = \(recipient)
                    AND kind = \(kind.number)
                ORDER BY id DESC
                OFFSET \(kept)
                LIMIT 1
            )
        """
    }

    // MARK: Lists

    /// Above which id a user's notifications were not cleared.
    private func cleared(_ user: UserID) -> SQL {
        """
        COALESCE((
            SELECT cleared
            FROM notifications.setting
            WHERE bucket = \(user.bucket) AND user_id = \(user)
        ), 0)
        """
    }

    func page(
        of user: UserID,
        kinds: [NotificationKind],
        actor: UserID?,
        _ page: PageRequest
    ) async throws(DatabaseError) -> [NotificationRow] {
        try await database.rows(
            """
            SELECT id, kind, actor, subject, created_at
            FROM notifications.notification
            WHERE bucket = \(user.bucket) AND recipient = \(user) AND active
                AND kind = ANY (\(kinds.map(\.number))::smallint[])
                AND (\(actor?.rawValue)::bigint IS NULL OR actor = \(actor?.rawValue)::bigint)
                AND id > greatest(\(page.lower), \(fragment: cleared(user))) AND id < \(page.upper)
            ORDER BY id \(unsafe: page.isAscending ? "ASC" : "DESC")
            LIMIT \(page.limit)
            """,
            on: user
        )
    }

    func rows(
        _ ids: [NotificationID],
        of user: UserID
    ) async throws(DatabaseError) -> [NotificationRow] {
        try await database.rows(
            """
            SELECT id, kind, actor, subject, created_at
            FROM notifications.notification
            WHERE bucket = \(user.bucket) AND recipient = \(user) AND active
                AND id = ANY (\(ids.map(\.rawValue))::bigint[])
                AND id > \(fragment: cleared(user))
            """,
            on: user
        )
    }

    /// Groups by their newest member, newest first.
    func groups(
        of user: UserID,
        kinds: [NotificationKind],
        grouped: [NotificationKind],
        actor: UserID?,
        _ page: PageRequest
    ) async throws(DatabaseError) -> [GroupRow] {
        try await database.rows(
            """
            SELECT kind, subject, max(id), min(id), count(*), max(created_at),
                (array_agg(actor ORDER BY id DESC))[1:\(Self.sampleLimit)::integer]
            FROM notifications.notification
            WHERE bucket = \(user.bucket) AND recipient = \(user) AND active
                AND kind = ANY (\(kinds.map(\.number))::smallint[])
                AND (\(actor?.rawValue)::bigint IS NULL OR actor = \(actor?.rawValue)::bigint)
                AND id > \(fragment: cleared(user))
            GROUP BY kind, subject,
                CASE WHEN kind = ANY (\(grouped.map(\.number))::smallint[]) THEN 0 ELSE id END
            HAVING max(id) > \(page.lower) AND max(id) < \(page.upper)
            ORDER BY max(id) \(unsafe: page.isAscending ? "ASC" : "DESC")
            LIMIT \(page.limit)
            """,
            on: user
        )
    }

    /// Who is behind a group, the latest first.
    func members(
        of group: NotificationGroup,
        of user: UserID,
        limit: Int
    ) async throws(DatabaseError) -> [NotificationRow] {
        try await database.rows(
            """
            SELECT id, kind, actor, subject, created_at
            FROM notifications.notification
            WHERE bucket = \(user.bucket) AND recipient = \(user) AND active
                AND \(fragment: Self.condition(group)) AND id > \(fragment: cleared(user))
            ORDER BY id DESC
            LIMIT \(limit)
            """,
            on: user
        )
    }

    private static func condition(_ group: NotificationGroup) -> SQL {
        switch group {
        case .one(let id): "id = \(id)"
        case .all(let kind, let subject): "kind = \(kind.number) AND subject = \(subject)"
        }
    }

    // MARK: What the user does with them

    /// Takes one, or all of a group, off the list; false if there is none.
    func dismiss(
        _ group: NotificationGroup,
        of user: UserID
    ) async throws(DatabaseError) -> Bool {
        let rows = try await database.write(
            on: user,
            [
                """
                UPDATE notifications.notification
                SET active = false
                WHERE bucket = \(user.bucket) AND recipient = \(user) AND active
                    AND \(fragment: Self.condition(group))
                """
            ]
        )
        return rows[0].affected > 0
    }

    /// Takes all that are there off the list; those that come at this moment stay.
    func clear(_ user: UserID) async throws(DatabaseError) {
        try await database.write(
            on: user,
            [
                """
                INSERT INTO notifications.setting AS s (bucket, user_id, cleared)
                SELECT \(user.bucket)::smallint, \(user)::bigint, coalesce(max(id), 0)
                FROM notifications.notification
                WHERE bucket = \(user.bucket) AND recipient = \(user) AND active
                ON CONFLICT (bucket, user_id) DO UPDATE
                SET cleared = greatest(s.cleared, excluded.cleared)
                """
            ]
        )
    }

    /// How many came after the mark of what was read, counted up to a limit.
    func unread(
        of user: UserID,
        kinds: [NotificationKind],
        limit: Int
    ) async throws(DatabaseError) -> Int {
        let counts: [Int] = try await database.rows(
            """
            SELECT count(*)
            FROM (
                SELECT
                FROM notifications.notification
                WHERE bucket = \(user.bucket) AND recipient = \(user) AND active
                    AND kind = ANY (\(kinds.map(\.number))::smallint[])
                    AND id > greatest(\(fragment: cleared(user)), COALESCE((
                        SELECT last_read
                        FROM notifications.marker
                        WHERE bucket = \(user.bucket) AND user_id = \(user)
                            AND timeline = 'notifications'
                    ), 0))
                LIMIT \(limit)
            ) AS unread
            """,
            on: user
        )
        return counts.first ?? 0
    }

    // MARK: Settings

    /// From whom some users of any shards want what; those who never said are left out.
    func senders(
        of users: [UserID]
    ) async throws(DatabaseError) -> [UserID: [NotificationKind: NotificationSenders]] {
        let rows: [SenderRow] = try await database.gather(users) { users in
            """
            SELECT s.user_id, s.senders::text
            FROM unnest(\(users.map(\.rawValue))::bigint[]) AS w (id)
            JOIN notifications.setting AS s
                ON s.bucket = ((w.id >> 6) & 1023)::smallint AND s.user_id = w.id
            """
        }
        return Dictionary(rows.map { ($0.user, $0.senders) }) { $1 }
    }

    /// Changes what a user wants of these kinds and leaves the others.
    func choose(
        _ senders: [NotificationKind: NotificationSenders],
        for user: UserID
    ) async throws(DatabaseError) {
        var json = JSONWriter()
        json.object { json in
            for (kind, choice) in senders.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
                json.key(kind.rawValue)
                json.string(choice.rawValue)
            }
        }
        let text = String(decoding: json.bytes, as: UTF8.self)
        try await database.write(
            on: user,
            [
                """
                INSERT INTO notifications.setting AS s (bucket, user_id, senders)
                VALUES (\(user.bucket), \(user), \(text)::text::jsonb)
                ON CONFLICT (bucket, user_id) DO UPDATE
                SET senders = s.senders || excluded.senders
                """
            ]
        )
    }

    // MARK: Markers

    func markers(of user: UserID) async throws(DatabaseError) -> [MarkerRow] {
        try await database.rows(
            """
            SELECT timeline, last_read, version::bigint, updated_at
            FROM notifications.marker
            WHERE bucket = \(user.bucket) AND user_id = \(user)
            """,
            on: user
        )
    }

    /// Moves marks on; never back, so that a device which lags behind does not unread what another one has read.
    func mark(_ marks: [(timeline: String, lastRead: Int64)], by user: UserID)
        async throws(DatabaseError)
    {
        try await database.write(
            on: user,
            [
                """
                INSERT INTO notifications.marker AS m (bucket, user_id, timeline, last_read)
                SELECT \(user.bucket)::smallint, \(user)::bigint, w.timeline, w.last_read
                FROM unnest(\(marks.map(\.timeline))::text[], \(marks.map(\.lastRead))::bigint[])
                    AS w (timeline, last_read)
                ORDER BY w.timeline
                ON CONFLICT (bucket, user_id, timeline) DO UPDATE
                SET last_read = excluded.last_read, version = m.version + 1, updated_at = now()
                WHERE m.last_read < excluded.last_read
                """
            ]
        )
    }
}

struct MarkerRow: RowDecodable, Sendable {
    let timeline: String
    let marker: MarkerEntity

    init(row: inout Row) throws(DatabaseError) {
        timeline = try row.next()
        marker = MarkerEntity(
            lastRead: try row.next(),
            version: try row.next(),
            updatedAt: try row.next()
        )
    }
}

private struct SenderRow: RowDecodable, Sendable {
    let user: UserID
    let senders: [NotificationKind: NotificationSenders]

    init(row: inout Row) throws(DatabaseError) {
        user = try row.next()
        let text: String = try row.next()
        guard let json = try? JSONReader.parse(Array(text.utf8)), let members = json.object else {
            // PostgreSQL has checked that it is JSON; the table's default is an object.
            throw .decoding("notifications.setting.senders is no object")
        }
        var senders: [NotificationKind: NotificationSenders] = [:]
        for (name, value) in members {
            guard let kind = NotificationKind(rawValue: name),
                let choice = value.string.flatMap(NotificationSenders.init)
            else { continue }
            senders[kind] = choice
        }
        self.senders = senders
    }
}
