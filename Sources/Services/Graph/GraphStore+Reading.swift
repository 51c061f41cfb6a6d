package import Contracts
internal import Database
package import Postgres
internal import Sharding

// Statements of reading.

extension GraphStore {
    // MARK: Reading

    /// How the user stands to each of these, in their order; all of it lies on the user's shard.
    package func relationships(
        of user: UserID,
        to targets: [UserID]
    ) async throws(DatabaseError) -> [RelationshipEntity] {
        try await database.rows(relationships(of: user, to: targets), on: user)
    }

    func relationships(of user: UserID, to targets: [UserID]) -> SQL {
        """
        SELECT t.id, coalesce(f.active, false), coalesce(f.active AND f.reblogs, false),
            coalesce(f.active AND f.notify, false), coalesce(f.requested, false),
            coalesce(r.active, false), coalesce(r.requested, false),
            EXISTS (
                SELECT FROM graph.block AS b
                WHERE b.bucket = \(user.bucket) AND b.user_id = \(user)
                    AND b.target_id = t.id AND b.active
            ),
            EXISTS (
                SELECT FROM graph.blocked_by AS b
                WHERE b.bucket = \(user.bucket) AND b.user_id = \(user)
                    AND b.blocker_id = t.id AND b.active
            ),
            m.target_id IS NOT NULL, coalesce(m.notifications, false), m.expires_at,
            EXISTS (
                SELECT FROM graph.restriction AS x
                WHERE x.bucket = \(user.bucket) AND x.user_id = \(user) AND x.target_id = t.id
            ),
            EXISTS (
                SELECT FROM graph.close_friend AS c
                WHERE c.bucket = \(user.bucket) AND c.user_id = \(user) AND c.target_id = t.id
            ),
            coalesce((
                SELECT n.comment FROM graph.note AS n
                WHERE n.bucket = \(user.bucket) AND n.user_id = \(user) AND n.target_id = t.id
            ), '')
        FROM unnest(\(targets.map(\.rawValue))::bigint[]) WITH ORDINALITY AS t (id, place)
        LEFT JOIN graph.following AS f
            ON f.bucket = \(user.bucket) AND f.user_id = \(user) AND f.target_id = t.id
        LEFT JOIN graph.follower AS r
            ON r.bucket = \(user.bucket) AND r.followed = \(user)
                AND r.follower_bucket = ((t.id >> 6) & 1023)::smallint AND r.follower = t.id
        LEFT JOIN graph.mute AS m
            ON m.bucket = \(user.bucket) AND m.user_id = \(user) AND m.target_id = t.id
                AND (m.expires_at IS NULL OR m.expires_at > now())
        ORDER BY t.place
        """
    }

    package func followed(
        by user: UserID,
        among targets: [UserID]
    ) async throws(DatabaseError) -> [UserID] {
        try await database.rows(
            """
            SELECT target_id
            FROM graph.following
            WHERE bucket = \(user.bucket) AND user_id = \(user)
                AND target_id = ANY (\(targets.map(\.rawValue))::bigint[]) AND active
            """,
            on: user
        )
    }

    /// Everything of the viewer's own rows that decides what they may see of these others.
    func standing(
        of viewer: UserID,
        to others: [UserID]
    ) async throws(DatabaseError) -> ViewerStanding {
        let rows: [StandingRow] = try await database.rows(
            """
            WITH asked AS MATERIALIZED (
                SELECT id FROM unnest(\(others.map(\.rawValue))::bigint[]) AS t (id)
            )
            SELECT f.target_id, CASE WHEN f.active THEN \(Fact.follows.rawValue)::smallint
                ELSE \(Fact.asks.rawValue)::smallint END
            FROM asked JOIN graph.following AS f
                ON f.bucket = \(viewer.bucket) AND f.user_id = \(viewer) AND f.target_id = asked.id
            WHERE f.active OR f.requested
            UNION ALL
            SELECT f.target_id, \(Fact.withoutReblogs.rawValue)::smallint
            FROM asked JOIN graph.following AS f
                ON f.bucket = \(viewer.bucket) AND f.user_id = \(viewer) AND f.target_id = asked.id
            WHERE f.active AND NOT f.reblogs
            UNION ALL
            SELECT b.target_id, \(Fact.blocks.rawValue)::smallint
            FROM asked JOIN graph.block AS b
                ON b.bucket = \(viewer.bucket) AND b.user_id = \(viewer) AND b.target_id = asked.id
            WHERE b.active
            UNION ALL
            SELECT b.blocker_id, \(Fact.isBlocked.rawValue)::smallint
            FROM asked JOIN graph.blocked_by AS b
                ON b.bucket = \(viewer.bucket) AND b.user_id = \(viewer) AND b.blocker_id = asked.id
            WHERE b.active
            UNION ALL
            SELECT m.target_id, CASE WHEN m.notifications
                THEN \(Fact.mutesAll.rawValue)::smallint ELSE \(Fact.mutes.rawValue)::smallint END
            FROM asked JOIN graph.mute AS m
                ON m.bucket = \(viewer.bucket) AND m.user_id = \(viewer) AND m.target_id = asked.id
            WHERE m.expires_at IS NULL OR m.expires_at > now()
            UNION ALL
            SELECT x.target_id, \(Fact.restricts.rawValue)::smallint
            FROM asked JOIN graph.restriction AS x
                ON x.bucket = \(viewer.bucket) AND x.user_id = \(viewer) AND x.target_id = asked.id
            """,
            on: viewer
        )
        return ViewerStanding(rows)
    }

    /// Which of the authors count the user among their close friends; one statement a shard.
    func closeFriendships(
        of user: UserID,
        among authors: [UserID]
    ) async throws(DatabaseError) -> Set<UserID> {
        let found: [Int64] = try await database.gather(authors) { authors in
            """
            SELECT c.user_id
            FROM unnest(\(authors.map(\.bucket))::smallint[], \(authors)::bigint[])
                AS a (bucket, id)
            JOIN graph.close_friend AS c
                ON c.bucket = a.bucket AND c.user_id = a.id AND c.target_id = \(user)
            """
        }
        return Set(found.map { UserID(rawValue: $0) })
    }

    func restricts(_ user: UserID, _ other: UserID) async throws(DatabaseError) -> Bool {
        try await database.row(
            """
            SELECT true
            FROM graph.restriction
            WHERE bucket = \(user.bucket) AND user_id = \(user) AND target_id = \(other)
            """,
            on: user
        ) ?? false
    }

    /// Whom of those that the user follows each of the others is followed by; one statement a shard.
    func familiarFollowers(
        of targets: [UserID],
        for user: UserID,
        limit: Int
    ) async throws(DatabaseError) -> [UserID: [UserID]] {
        let followed: [Int64] = try await database.rows(
            """
            SELECT target_id
            FROM graph.following
            WHERE bucket = \(user.bucket) AND user_id = \(user) AND active
            ORDER BY id DESC
            LIMIT \(Self.familiarLimit)
            """,
            on: user
        )
        guard !followed.isEmpty, !targets.isEmpty else { return [:] }
        let rows: [FamiliarRow] = try await database.gather(targets) { targets in
            """
            SELECT a.id, familiar.follower
            FROM unnest(\(targets.map(\.bucket))::smallint[], \(targets)::bigint[])
                AS a (bucket, id)
            CROSS JOIN LATERAL (
                SELECT f.follower
                FROM graph.follower_active AS f
                WHERE f.bucket = a.bucket AND f.followed = a.id
                    AND (f.follower_bucket, f.follower) IN (
                        SELECT ((id >> 6) & 1023)::smallint, id
                        FROM unnest(\(followed)::bigint[]) AS u (id)
                    )
                ORDER BY f.id DESC
                LIMIT \(limit)
            ) AS familiar
            """
        }
        return Dictionary(grouping: rows, by: \.target).mapValues { $0.map(\.follower) }
    }

    /// Of how many that one follows it is looked whom else they follow.
    private static let familiarLimit = 2_000

    /// One page of a list of edges, in the order in which it was read: newest first, or oldest first
    /// where the page is read upwards.
    package func page(
        of list: EdgeList,
        of user: UserID,
        above lower: Int64,
        below upper: Int64,
        ascending: Bool,
        limit: Int
    ) async throws(DatabaseError) -> [EdgeListing] {
        let order: SQL = ascending ? "ASC" : "DESC"
        return try await database.rows(
            """
            SELECT id, \(fragment: list.other)
            FROM \(fragment: list.table)
            WHERE bucket = \(user.bucket) AND \(fragment: list.owner) = \(user)
                AND \(fragment: list.condition) AND id > \(lower) AND id < \(upper)
            ORDER BY id \(fragment: order)
            LIMIT \(limit)
            """,
            on: user
        )
    }
}

/// One thing that a viewer has to do with another user.
private enum Fact: Int16 {
    case follows = 1
    case asks, withoutReblogs, blocks, isBlocked, mutes, mutesAll, restricts
}

private struct StandingRow: RowDecodable {
    let user: UserID
    let fact: Fact

    init(row: inout Row) throws(DatabaseError) {
        user = try row.next()
        let code: Int16 = try row.next()
        guard let fact = Fact(rawValue: code) else { throw .decoding("standing \(code)") }
        self.fact = fact
    }
}

extension ViewerStanding {
    fileprivate init(_ rows: [StandingRow]) {
        self.init()
        for row in rows {
            switch row.fact {
            case .follows: followed.insert(row.user)
            case .asks: requested.insert(row.user)
            case .withoutReblogs: withoutReblogs.insert(row.user)
            case .blocks: blocking.insert(row.user)
            case .isBlocked: blockedBy.insert(row.user)
            case .mutes: muted.insert(row.user)
            case .mutesAll:
                muted.insert(row.user)
                mutedNotifications.insert(row.user)
            case .restricts: restricted.insert(row.user)
            }
        }
        blocked = blocking.union(blockedBy)
    }
}

private struct FamiliarRow: RowDecodable {
    let target: UserID
    let follower: UserID

    init(row: inout Row) throws(DatabaseError) {
        target = try row.next()
        follower = try row.next()
    }
}

/// The lists of edges that a user has.
package enum EdgeList: Sendable {
    case following, asked, followers, requests, blocks, mutes, closeFriends, restricted

    var table: SQL {
        switch self {
        case .following, .asked: "graph.following"
        case .followers, .requests: "graph.follower AS f"
        case .blocks: "graph.block"
        case .mutes: "graph.mute"
        case .closeFriends: "graph.close_friend"
        case .restricted: "graph.restriction"
        }
    }

    var owner: SQL {
        switch self {
        case .followers, .requests: "followed"
        default: "user_id"
        }
    }

    var other: SQL {
        switch self {
        case .followers, .requests: "follower"
        default: "target_id"
        }
    }

    var condition: SQL {
        switch self {
        case .following, .blocks: "active"
        case .asked: "requested"
        case .followers, .requests:
            """
            \(fragment: state) AND NOT EXISTS (
                SELECT FROM graph.block AS b
                WHERE b.bucket = f.bucket AND b.user_id = f.followed
                    AND b.target_id = f.follower AND b.active
            )
            """
        case .mutes: "(expires_at IS NULL OR expires_at > now())"
        case .closeFriends, .restricted: "true"
        }
    }

    private var state: SQL { self == .requests ? "requested" : "active" }
}

/// One line of a list of edges: the edge's id, which is its cursor, and the other user.
package struct EdgeListing: RowDecodable, Sendable {
    package let id: Int64
    package let user: UserID

    package init(row: inout Row) throws(DatabaseError) {
        id = try row.next()
        user = try row.next()
    }
}

extension RelationshipEntity: RowDecodable {
    package init(row: inout Row) throws(DatabaseError) {
        self.init(id: try row.next())
        following = try row.next()
        showingReblogs = try row.next()
        notifying = try row.next()
        requested = try row.next()
        followedBy = try row.next()
        requestedBy = try row.next()
        blocking = try row.next()
        blockedBy = try row.next()
        muting = try row.next()
        mutingNotifications = try row.next()
        mutingExpiresAt = try row.next()
        restricting = try row.next()
        closeFriend = try row.next()
        note = try row.next()
    }
}
