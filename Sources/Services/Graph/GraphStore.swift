package import Contracts
import Counters
package import Database
internal import Jobs
internal import JSON
package import Postgres
internal import Sharding

/// Every statement of Graph.
///
/// Writes of one user take that user's lock first, in a statement of their own: so each later statement
/// sees all that earlier writes of the user have committed, and a follow and a block that meet are ordered.
package struct GraphStore: Sendable {
    private let database: Database

    package init(database: Database) {
        self.database = database
    }

    // MARK: Follow and unfollow

    /// Follows, unless the user blocks the target; says how the two stand afterwards.
    package func follow(
        _ target: UserID,
        by user: UserID,
        blockSeen: Int64,
        traceparent: String?
    ) async throws(DatabaseError) -> RelationshipEntity {
        try await write(
            by: user,
            about: target,
            [
                """
                WITH old AS (
                    SELECT active
                    FROM graph.following
                    WHERE bucket = \(user.bucket) AND user_id = \(user) AND target_id = \(target)
                ), edge AS (
                    INSERT INTO graph.following AS f
                        (bucket, user_id, target_id, id, version, active, block_seen)
                    SELECT \(user.bucket)::smallint, \(user)::bigint, \(target)::bigint,
                        control.next_id(\(user.bucket)::smallint), 1, true, \(blockSeen)::bigint
                    WHERE NOT EXISTS (
                        SELECT
                        FROM graph.block
                        WHERE bucket = \(user.bucket) AND user_id = \(user)
                            AND target_id = \(target) AND active
                    )
                    -- A block that overtook the look at the target's row; see BlockVersion.allowsFollow.
                    AND NOT EXISTS (
                        SELECT
                        FROM graph.blocked_by
                        WHERE bucket = \(user.bucket) AND user_id = \(user)
                            AND blocker_id = \(target)
                            AND version - 1 + version % 2 > \(blockSeen)::bigint
                    )
                    ON CONFLICT (bucket, user_id, target_id) DO UPDATE
                    SET id = CASE WHEN f.active THEN f.id ELSE excluded.id END,
                        version = f.version + CASE WHEN f.active THEN 0 ELSE 1 END,
                        active = true,
                        block_seen = greatest(f.block_seen, excluded.block_seen),
                        changed_at = now()
                    WHERE NOT f.active OR f.block_seen < excluded.block_seen
                    RETURNING id, version, active
                ), changed AS (
                    SELECT id, version, active
                    FROM edge
                    WHERE NOT EXISTS (SELECT FROM old WHERE active)
                ), \(fragment: edgeEffects(of: user, target, amount: 1, traceparent))
                SELECT FROM changed
                """
            ]
        )
    }

    package func unfollow(
        _ target: UserID,
        by user: UserID,
        traceparent: String?
    ) async throws(DatabaseError) -> RelationshipEntity {
        try await write(
            by: user,
            about: target,
            [ending(of: target, by: user, condition: "true", traceparent)]
        )
    }

    /// Ends the user's follow of the target where it stands and the condition holds.
    private func ending(
        of target: UserID,
        by user: UserID,
        condition: SQL,
        _ traceparent: String?
    ) -> SQL {
        """
        WITH changed AS (
            UPDATE graph.following
            SET version = version + 1, active = false, changed_at = now()
            WHERE bucket = \(user.bucket) AND user_id = \(user) AND target_id = \(target)
                AND active AND \(fragment: condition)
            RETURNING id, version, active
        ), \(fragment: edgeEffects(of: user, target, amount: -1, traceparent))
        SELECT FROM changed
        """
    }

    /// What follows from a changed row of `changed`: the count, and the mirror's effect.
    private func edgeEffects(
        of user: UserID,
        _ target: UserID,
        amount: Int,
        _ traceparent: String?
    ) -> SQL {
        """
        counted AS (
            INSERT INTO counters.delta (bucket, subject, kind, amount)
            SELECT \(user.bucket)::smallint, \(user)::bigint,
                \(CounterKind.following.rawValue)::smallint, \(amount)::integer
            FROM changed
        ), enqueued AS (
            INSERT INTO jobs.outbox (bucket, id, kind, payload, traceparent)
            SELECT \(user.bucket)::smallint, control.next_id(\(user.bucket)::smallint),
                \(EffectKinds.graphEdge)::text,
                jsonb_build_object(
                    'user', \(user.description)::text,
                    'target', \(target.description)::text,
                    'id', id::text,
                    'version', version,
                    'active', active
                ),
                \(traceparent)::text
            FROM changed
        )
        """
    }

    /// Mirrors a state of a following row at the followed's bucket, if it is news; then the feed follows:
    /// a backfill begins after the edge has committed here, so it sees each post that fan-out did not
    /// deliver to the new follower.
    package func mirror(
        _ edge: EdgeEffect,
        traceparent: String?
    ) async throws(DatabaseError) {
        let followed = edge.target, follower = edge.user
        let consequence = Effect(
            edge.active ? EffectKinds.feedBackfill : EffectKinds.feedCleanUp,
            owner: followed,
            payload: FollowEffect(reader: follower, author: followed),
            traceparent: traceparent
        )
        _ = try await database.write(
            on: followed,
            [
                // Two messages about one pair must not both count against the same old state.
                """
                SELECT pg_advisory_xact_lock(
                    hashint8extended(\(follower)::bigint, \(followed)::bigint)
                )
                """,
                """
                WITH old AS (
                    SELECT active
                    FROM graph.follower
                    WHERE bucket = \(followed.bucket) AND followed = \(followed)
                        AND follower_bucket = \(follower.bucket) AND follower = \(follower)
                ), edge AS (
                    INSERT INTO graph.follower AS f
                        (bucket, followed, follower_bucket, follower, id, version, active)
                    VALUES (
                        \(followed.bucket), \(followed), \(follower.bucket), \(follower),
                        \(edge.id), \(edge.version), \(edge.active)
                    )
                    ON CONFLICT (bucket, followed, follower_bucket, follower) DO UPDATE
                    SET id = excluded.id, version = excluded.version, active = excluded.active
                    WHERE f.version < excluded.version
                    RETURNING active
                ), counted AS (
                    INSERT INTO counters.delta (bucket, subject, kind, amount)
                    SELECT \(followed.bucket)::smallint, \(followed)::bigint,
                        \(CounterKind.followers.rawValue)::smallint,
                        CASE WHEN active THEN 1 ELSE -1 END
                    FROM edge
                    WHERE active <> EXISTS (SELECT FROM old WHERE active)
                )
                \(fragment: consequence.enqueue(whenAny: "edge"))
                """,
            ]
        )
    }

    // MARK: Block and unblock

    /// The version of `user`'s block row about `target`, from the shard of `user`; 0 if there is none.
    package func blockVersion(
        of target: UserID,
        by user: UserID
    ) async throws(DatabaseError) -> Int64 {
        let versions: [Int64] = try await database.rows(
            """
            SELECT version
            FROM graph.block
            WHERE bucket = \(user.bucket) AND user_id = \(user) AND target_id = \(target)
            """,
            on: user
        )
        return versions.first ?? 0
    }

    /// Blocks: ends the user's own follow at once, and the target's by an effect.
    package func block(
        _ target: UserID,
        by user: UserID,
        traceparent: String?
    ) async throws(DatabaseError) -> RelationshipEntity {
        try await write(
            by: user,
            about: target,
            [
                """
                WITH changed AS (
                    INSERT INTO graph.block AS b
                        (bucket, user_id, target_id, id, version, active)
                    VALUES (
                        \(user.bucket), \(user), \(target),
                        control.next_id(\(user.bucket)::smallint), 1, true
                    )
                    ON CONFLICT (bucket, user_id, target_id) DO UPDATE
                    SET id = excluded.id, version = b.version + 1, active = true
                    WHERE NOT b.active
                    RETURNING version
                )
                \(fragment: blockEffect(of: user, target, traceparent))
                """,
                ending(of: target, by: user, condition: "true", traceparent),
            ]
        )
    }

    package func unblock(
        _ target: UserID,
        by user: UserID,
        traceparent: String?
    ) async throws(DatabaseError) -> RelationshipEntity {
        try await write(
            by: user,
            about: target,
            [
                """
                WITH changed AS (
                    UPDATE graph.block
                    SET version = version + 1, active = false
                    WHERE bucket = \(user.bucket) AND user_id = \(user)
                        AND target_id = \(target) AND active
                    RETURNING version
                )
                \(fragment: blockEffect(of: user, target, traceparent))
                """
            ]
        )
    }

    private func blockEffect(of user: UserID, _ target: UserID, _ traceparent: String?) -> SQL {
        """
        INSERT INTO jobs.outbox (bucket, id, kind, payload, traceparent)
        SELECT \(user.bucket)::smallint, control.next_id(\(user.bucket)::smallint),
            \(EffectKinds.graphBlock)::text,
            jsonb_build_object(
                'blocker', \(user.description)::text,
                'blocked', \(target.description)::text,
                'version', version
            ),
            \(traceparent)::text
        FROM changed
        """
    }

    /// Mirrors a state of a block row at the blocked's bucket and ends the follow that it has to end.
    package func mirror(
        _ block: BlockEffect,
        traceparent: String?
    ) async throws(DatabaseError) {
        let user = block.blocked, target = block.blocker
        let newest = BlockVersion.newestBlock(toldBy: block.version)
        _ = try await database.write(
            on: user,
            [
                lock(user),
                """
                INSERT INTO graph.blocked_by AS b (bucket, user_id, blocker_id, version, active)
                VALUES (
                    \(user.bucket), \(user), \(target), \(block.version),
                    \(BlockVersion.stands(block.version))
                )
                ON CONFLICT (bucket, user_id, blocker_id) DO UPDATE
                SET version = excluded.version, active = excluded.active
                WHERE b.version < excluded.version
                """,
                ending(
                    of: target,
                    by: user,
                    condition: "block_seen < \(newest)",
                    traceparent
                ),
            ]
        )
    }

    // MARK: Mute and unmute

    package func mute(
        _ target: UserID,
        by user: UserID,
        notifications: Bool,
        seconds: Int?
    ) async throws(DatabaseError) -> RelationshipEntity {
        try await write(
            by: user,
            about: target,
            [
                """
                INSERT INTO graph.mute
                    (bucket, user_id, target_id, id, notifications, expires_at)
                VALUES (
                    \(user.bucket), \(user), \(target),
                    control.next_id(\(user.bucket)::smallint), \(notifications),
                    now() + \(seconds.map(Double.init))::float8 * interval '1 second'
                )
                ON CONFLICT (bucket, user_id, target_id) DO UPDATE
                SET notifications = excluded.notifications, expires_at = excluded.expires_at
                """
            ]
        )
    }

    package func unmute(
        _ target: UserID,
        by user: UserID
    ) async throws(DatabaseError) -> RelationshipEntity {
        try await write(
            by: user,
            about: target,
            [
                """
                DELETE FROM graph.mute
                WHERE bucket = \(user.bucket) AND user_id = \(user) AND target_id = \(target)
                """
            ]
        )
    }

    // MARK: Parts of writes

    private func lock(_ user: UserID) -> SQL {
        "SELECT pg_advisory_xact_lock(\(user)::bigint)"
    }

    /// One write of a user's own rows, which answers with the relationship that it leaves.
    private func write(
        by user: UserID,
        about target: UserID,
        _ statements: [SQL]
    ) async throws(DatabaseError) -> RelationshipEntity {
        let rows = try await database.write(
            on: user,
            [lock(user)] + statements + [relationships(of: user, to: [target])]
        )
        return try rows[rows.count - 1].decode(as: RelationshipEntity.self)[0]
    }

    // MARK: Reading

    /// How the user stands to each of these, in their order; all of it lies on the user's shard.
    package func relationships(
        of user: UserID,
        to targets: [UserID]
    ) async throws(DatabaseError) -> [RelationshipEntity] {
        try await database.rows(relationships(of: user, to: targets), on: user)
    }

    private func relationships(of user: UserID, to targets: [UserID]) -> SQL {
        """
        SELECT t.id,
            EXISTS (
                SELECT FROM graph.following AS f
                WHERE f.bucket = \(user.bucket) AND f.user_id = \(user)
                    AND f.target_id = t.id AND f.active
            ),
            EXISTS (
                SELECT FROM graph.follower AS f
                WHERE f.bucket = \(user.bucket) AND f.followed = \(user)
                    AND f.follower_bucket = ((t.id >> 6) & 1023)::smallint
                    AND f.follower = t.id AND f.active
            ),
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
            m.target_id IS NOT NULL,
            COALESCE(m.notifications, false)
        FROM unnest(\(targets.map(\.rawValue))::bigint[]) WITH ORDINALITY AS t (id, place)
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

    /// Only authors whom the viewer follows, or one of whom blocks the other, have a row.
    func standing(
        of viewer: UserID,
        to authors: [UserID]
    ) async throws(DatabaseError) -> ViewerStanding {
        let rows: [StandingRow] = try await database.rows(
            """
            SELECT s.target_id, bool_or(s.follows), bool_or(s.blocks)
            FROM (
                SELECT target_id, true AS follows, false AS blocks
                FROM graph.following
                WHERE bucket = \(viewer.bucket) AND user_id = \(viewer)
                    AND target_id = ANY (\(authors.map(\.rawValue))::bigint[]) AND active
                UNION ALL
                SELECT target_id, false, true
                FROM graph.block
                WHERE bucket = \(viewer.bucket) AND user_id = \(viewer)
                    AND target_id = ANY (\(authors.map(\.rawValue))::bigint[]) AND active
                UNION ALL
                SELECT blocker_id, false, true
                FROM graph.blocked_by
                WHERE bucket = \(viewer.bucket) AND user_id = \(viewer)
                    AND blocker_id = ANY (\(authors.map(\.rawValue))::bigint[]) AND active
            ) AS s
            GROUP BY s.target_id
            """,
            on: viewer
        )
        return ViewerStanding(
            followed: Set(rows.filter(\.follows).map(\.user)),
            blocked: Set(rows.filter(\.blocks).map(\.user))
        )
    }

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

private struct StandingRow: RowDecodable {
    let user: UserID
    let follows: Bool
    let blocks: Bool

    init(row: inout Row) throws(DatabaseError) {
        user = try row.next()
        follows = try row.next()
        blocks = try row.next()
    }
}

/// The lists of edges that a user has.
package enum EdgeList: Sendable {
    case following, followers, blocks, mutes

    var table: SQL {
        switch self {
        case .following: "graph.following"
        case .followers: "graph.follower AS f"
        case .blocks: "graph.block"
        case .mutes: "graph.mute"
        }
    }

    var owner: SQL {
        switch self {
        case .followers: "followed"
        case .following, .blocks, .mutes: "user_id"
        }
    }

    var other: SQL {
        switch self {
        case .followers: "follower"
        case .following, .blocks, .mutes: "target_id"
        }
    }

    var condition: SQL {
        switch self {
        case .following, .blocks: "active"
        case .followers:
            """
            active AND NOT EXISTS (
                SELECT FROM graph.block AS b
                WHERE b.bucket = f.bucket AND b.user_id = f.followed
                    AND b.target_id = f.follower AND b.active
            )
            """
        case .mutes: "(expires_at IS NULL OR expires_at > now())"
        }
    }
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
        followedBy = try row.next()
        blocking = try row.next()
        blockedBy = try row.next()
        muting = try row.next()
        mutingNotifications = try row.next()
        showingReblogs = following
    }
}
