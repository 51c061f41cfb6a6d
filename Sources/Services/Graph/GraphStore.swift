package import Contracts
internal import Counters
package import Database
internal import Jobs
internal import JSON
package import Postgres
internal import Sharding

/// Every statement of Graph: here those of follows; the others stand beside it.
///
/// Writes of one user take that user's lock first, in a statement of their own: so each later statement
/// sees all that earlier writes of the user have committed, and a follow and a block that meet are ordered.
package struct GraphStore: Sendable {
    let database: Database

    package init(database: Database) {
        self.database = database
    }

    // MARK: Follow and unfollow

    /// What the target's own rows say to a user who wants to follow; from the target's shard, not from a copy.
    package func terms(
        of user: UserID,
        for target: UserID
    ) async throws(DatabaseError) -> FollowTerms {
        let rows: [TermsRow] = try await database.rows(
            """
            SELECT
                coalesce((
                    SELECT version
                    FROM graph.block
                    WHERE bucket = \(target.bucket) AND user_id = \(target)
                        AND target_id = \(user)
                ), 0),
                EXISTS (
                    SELECT
                    FROM accounts.closed
                    WHERE bucket = \(target.bucket) AND id = \(target)
                )
            """,
            on: target
        )
        return rows.first?.terms ?? FollowTerms()
    }

    /// Follows, or asks to, unless the user blocks the target; says how the two stand afterwards.
    ///
    /// Of a follow that is there already only what is wanted of it changes.
    package func follow(
        _ target: UserID,
        by user: UserID,
        on terms: FollowTerms,
        wanting wishes: FollowWishes = FollowWishes(),
        traceparent: String?
    ) async throws(DatabaseError) -> RelationshipEntity {
        let stands: SQL = "(f.active OR f.requested AND \(terms.asks)::boolean)"
        let notify: SQL = """
            coalesce(\(wishes.notify)::boolean, \(fragment: stands) AND f.notify)
            """
        return try await write(
            by: user,
            about: target,
            [
                """
                WITH old AS (
                    SELECT version, active
                    FROM graph.following
                    WHERE bucket = \(user.bucket) AND user_id = \(user) AND target_id = \(target)
                ), changed AS (
                    INSERT INTO graph.following AS f (
                        bucket, user_id, target_id, id, version, active, requested, reblogs, notify,
                        block_seen
                    )
                    SELECT \(user.bucket)::smallint, \(user)::bigint, \(target)::bigint,
                        control.next_id(\(user.bucket)::smallint), 1, NOT \(terms.asks)::boolean,
                        \(terms.asks)::boolean, coalesce(\(wishes.reblogs)::boolean, true),
                        coalesce(\(wishes.notify)::boolean, false), \(terms.blockSeen)::bigint
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
                            AND version - 1 + version % 2 > \(terms.blockSeen)::bigint
                    )
                    ON CONFLICT (bucket, user_id, target_id) DO UPDATE
                    SET id = CASE WHEN \(fragment: stands) THEN f.id ELSE excluded.id END,
                        -- A wish of which the other side has to know is a change, too.
                        version = f.version + CASE
                            WHEN \(fragment: stands) AND f.notify = \(fragment: notify) THEN 0
                            ELSE 1 END,
                        active = f.active OR excluded.active,
                        requested = NOT f.active AND excluded.requested,
                        reblogs = coalesce(
                            \(wishes.reblogs)::boolean, NOT \(fragment: stands) OR f.reblogs
                        ),
                        notify = \(fragment: notify),
                        block_seen = greatest(f.block_seen, excluded.block_seen),
                        changed_at = now()
                    RETURNING id, version, active, requested, notify
                ), \(fragment: edgeEffects(of: user, target, traceparent))
                SELECT FROM changed
                """
            ]
        )
    }

    /// Unfollows, or takes a request back.
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

    /// Ends the user's follow of the target, or the request for it, where it stands and the condition holds.
    func ending(
        of target: UserID,
        by user: UserID,
        condition: SQL,
        _ traceparent: String?
    ) -> SQL {
        changing(
            "version = version + 1, active = false, requested = false",
            of: target,
            by: user,
            where: "(active OR requested) AND \(fragment: condition)",
            traceparent
        )
    }

    private func changing(
        _ change: SQL,
        of target: UserID,
        by user: UserID,
        where condition: SQL,
        _ traceparent: String?
    ) -> SQL {
        """
        WITH old AS (
            SELECT version, active
            FROM graph.following
            WHERE bucket = \(user.bucket) AND user_id = \(user) AND target_id = \(target)
        ), changed AS (
            UPDATE graph.following
            SET \(fragment: change), changed_at = now()
            WHERE bucket = \(user.bucket) AND user_id = \(user) AND target_id = \(target)
                AND \(fragment: condition)
            RETURNING id, version, active, requested, notify
        ), \(fragment: edgeEffects(of: user, target, traceparent))
        SELECT FROM changed
        """
    }

    /// What follows from a row of `changed` that was as `old` says: the count, and the mirror's effect.
    private func edgeEffects(
        of user: UserID,
        _ target: UserID,
        _ traceparent: String?
    ) -> SQL {
        """
        news AS (
            SELECT * FROM changed WHERE version IS DISTINCT FROM (SELECT version FROM old)
        ), counted AS (
            INSERT INTO counters.delta (bucket, subject, kind, amount)
            SELECT \(user.bucket)::smallint, \(user)::bigint,
                \(CounterKind.following.rawValue)::smallint, CASE WHEN active THEN 1 ELSE -1 END
            FROM news
            WHERE active <> EXISTS (SELECT FROM old WHERE active)
        ), enqueued AS (
            INSERT INTO jobs.outbox (bucket, id, kind, version, payload, traceparent)
            SELECT \(user.bucket)::smallint, control.next_id(\(user.bucket)::smallint),
                \(EffectKinds.graphEdge)::text, CASE WHEN requested THEN 2 ELSE 1 END,
                jsonb_build_object(
                    'user', \(user.description)::text,
                    'target', \(target.description)::text,
                    'id', id::text,
                    'version', version,
                    'active', active,
                    'requested', requested,
                    'notify', notify
                ),
                \(traceparent)::text
            FROM news
        )
        """
    }

    // MARK: The other side

    /// Mirrors a state of a following row at the followed's bucket, if it is news; then the feed follows:
    /// a backfill begins after the edge has committed here, so it sees each post that fan-out did not
    /// deliver to the new follower. The followed is told of it.
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
                lock(followed, of: follower),
                """
                WITH old AS (
                    SELECT active, requested
                    FROM graph.follower
                    WHERE bucket = \(followed.bucket) AND followed = \(followed)
                        AND follower_bucket = \(follower.bucket) AND follower = \(follower)
                ), edge AS (
                    INSERT INTO graph.follower AS f (
                        bucket, followed, follower_bucket, follower, id, version, active, requested,
                        notify
                    )
                    VALUES (
                        \(followed.bucket), \(followed), \(follower.bucket), \(follower),
                        \(edge.id), \(edge.version), \(edge.active), \(edge.requested),
                        \(edge.notify)
                    )
                    ON CONFLICT (bucket, followed, follower_bucket, follower) DO UPDATE
                    SET id = excluded.id, version = excluded.version,
                        active = excluded.active AND excluded.id <> f.refused,
                        requested = excluded.requested AND excluded.id <> f.refused,
                        notify = excluded.notify
                    WHERE f.version < excluded.version
                    RETURNING active, requested
                ), \(fragment: followerCount(of: followed, in: "edge")),
                \(fragment: notifications(of: edge, traceparent))
                \(fragment: consequence.enqueue(whenAny: "edge"))
                """,
            ]
        )
    }

    private func followerCount(of followed: UserID, in rows: SQL) -> SQL {
        """
        counted AS (
            INSERT INTO counters.delta (bucket, subject, kind, amount)
            SELECT \(followed.bucket)::smallint, \(followed)::bigint,
                \(CounterKind.followers.rawValue)::smallint,
                CASE WHEN active THEN 1 ELSE -1 END
            FROM \(fragment: rows)
            WHERE active <> EXISTS (SELECT FROM old WHERE active)
        )
        """
    }

    /// Of a request the followed is told, and of a follow that they have not allowed themselves; what ends is taken back.
    private func notifications(of edge: EdgeEffect, _ traceparent: String?) -> SQL {
        func effect(_ kind: NotificationKind, _ active: Bool) -> Effect {
            Effect(
                EffectKinds.notify,
                owner: edge.target,
                payload: NotificationEffect(
                    recipient: edge.target,
                    kind: kind,
                    actor: edge.user,
                    // A decision about this version comes after it.
                    version: 2 * edge.version,
                    active: active
                ),
                traceparent: traceparent
            )
        }
        return """
            asked AS (
                SELECT FROM edge
                WHERE requested <> EXISTS (SELECT FROM old WHERE requested)
            ), followed AS (
                SELECT FROM edge WHERE active <> EXISTS (SELECT FROM old WHERE active)
            ), told_of_request AS (
                \(fragment: effect(.followRequest, edge.requested).enqueue(whenAny: "asked"))
            ), told_of_follow AS (
                \(fragment: effect(.follow, edge.active).enqueue(whenAny: "followed"))
            )
            """
    }

    /// The followed lets a follower in, sends them away, or removes them; false where there is nothing to decide.
    ///
    /// The row here is the mirror: it changes at once, and the truth follows by an effect that names the follow.
    package func decide(
        about follower: UserID,
        by followed: UserID,
        _ answer: FollowAnswer,
        traceparent: String?
    ) async throws(DatabaseError) -> RelationshipEntity? {
        let condition: SQL =
            switch answer {
            case .accept: "requested AND \(fragment: notBlocked)"
            case .reject: "requested"
            case .remove: "active"
            }
        let rows = try await database.write(
            on: followed,
            [
                lock(followed, of: follower),
                """
                WITH old AS (
                    SELECT active, requested
                    FROM graph.follower
                    WHERE bucket = \(followed.bucket) AND followed = \(followed)
                        AND follower_bucket = \(follower.bucket) AND follower = \(follower)
                ), edge AS (
                    UPDATE graph.follower AS f
                    SET active = \(answer == .accept), requested = false,
                        refused = CASE WHEN \(answer == .accept) THEN f.refused ELSE f.id END
                    WHERE bucket = \(followed.bucket) AND followed = \(followed)
                        AND follower_bucket = \(follower.bucket) AND follower = \(follower)
                        AND \(fragment: condition)
                    RETURNING id, version, active
                ), \(fragment: followerCount(of: followed, in: "edge")), answered AS (
                    INSERT INTO jobs.outbox (bucket, id, kind, payload, traceparent)
                    SELECT \(followed.bucket)::smallint,
                        control.next_id(\(followed.bucket)::smallint),
                        \(EffectKinds.graphAnswer)::text,
                        jsonb_build_object(
                            'user', \(follower.description)::text,
                            'target', \(followed.description)::text,
                            'id', id::text,
                            'accepts', \(answer == .accept)::boolean
                        ),
                        \(traceparent)::text
                    FROM edge
                ), settled AS (
                    INSERT INTO jobs.outbox (bucket, id, kind, payload, traceparent)
                    SELECT \(followed.bucket)::smallint,
                        control.next_id(\(followed.bucket)::smallint),
                        \(EffectKinds.notify)::text,
                        jsonb_build_object(
                            'recipient', \(followed.description)::text,
                            'kind', CASE WHEN old.requested
                                THEN \(NotificationKind.followRequest.rawValue)::text
                                ELSE \(NotificationKind.follow.rawValue)::text END,
                            'actor', \(follower.description)::text,
                            'version', 2 * edge.version + 1,
                            'active', false
                        ),
                        \(traceparent)::text
                    FROM edge, old
                )
                SELECT id FROM edge
                """,
                relationships(of: followed, to: [follower]),
            ]
        )
        guard !rows[1].isEmpty else { return nil }
        return try rows[2].decode(as: RelationshipEntity.self)[0]
    }

    private var notBlocked: SQL {
        """
        NOT EXISTS (
            SELECT FROM graph.block AS b
            WHERE b.bucket = f.bucket AND b.user_id = f.followed AND b.target_id = f.follower
                AND b.active
        )
        """
    }

    /// Brings a decision of the followed to the follow that it is about.
    package func take(
        _ answer: AnswerEffect,
        traceparent: String?
    ) async throws(DatabaseError) {
        let user = answer.user, target = answer.target
        let isThisOne: SQL = "id = \(answer.decision.id)"
        let change =
            answer.decision.accepts
            ? changing(
                "version = version + 1, active = true, requested = false",
                of: target,
                by: user,
                where: "requested AND \(fragment: isThisOne)",
                traceparent
            ) : ending(of: target, by: user, condition: isThisOne, traceparent)
        _ = try await database.write(on: user, [lock(user), change])
    }

    // MARK: Parts of writes

    func lock(_ user: UserID) -> SQL {
        "SELECT pg_advisory_xact_lock(\(user)::bigint)"
    }

    /// Two messages about one pair must not both count against the same old state.
    private func lock(_ followed: UserID, of follower: UserID) -> SQL {
        """
        SELECT pg_advisory_xact_lock(hashint8extended(\(follower)::bigint, \(followed)::bigint))
        """
    }

    /// One write of a user's own rows, which answers with the relationship that it leaves.
    func write(
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
}

/// What a follower wants of a follow; nil leaves it as it is.
package struct FollowWishes: Sendable, Equatable {
    package var reblogs: Bool?
    /// To be told of each post.
    package var notify: Bool?

    package init(reblogs: Bool? = nil, notify: Bool? = nil) {
        self.reblogs = reblogs
        self.notify = notify
    }
}

/// What the followed may decide about a follower.
package enum FollowAnswer: Sendable {
    case accept
    /// Of a request.
    case reject
    /// Of a follow that stands.
    case remove
}

private struct TermsRow: RowDecodable {
    let terms: FollowTerms

    init(row: inout Row) throws(DatabaseError) {
        terms = FollowTerms(blockSeen: try row.next(), asks: try row.next())
    }
}
