package import Contracts
internal import Database
package import Postgres
internal import Sharding

// Statements of what keeps people apart: blocks, mutes, restrictions; and of the lists that only their owner knows.

extension GraphStore {
    // MARK: Block and unblock

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
                leaving(.closeFriends, target, of: user),
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

    // MARK: Lists of one's own

    /// Puts a user on one of the lists that nobody else knows of; a repeat changes nothing.
    package func add(
        _ target: UserID,
        to list: OwnList,
        of user: UserID
    ) async throws(DatabaseError) -> RelationshipEntity {
        try await write(
            by: user,
            about: target,
            [
                """
                INSERT INTO \(fragment: list.table) (bucket, user_id, target_id, id)
                SELECT \(user.bucket)::smallint, \(user)::bigint, \(target)::bigint,
                    control.next_id(\(user.bucket)::smallint)
                WHERE NOT EXISTS (
                    SELECT FROM \(fragment: list.table)
                    WHERE bucket = \(user.bucket) AND user_id = \(user)
                        AND target_id = \(target)
                )
                """
            ]
        )
    }

    package func remove(
        _ target: UserID,
        from list: OwnList,
        of user: UserID
    ) async throws(DatabaseError) -> RelationshipEntity {
        try await write(by: user, about: target, [leaving(list, target, of: user)])
    }

    private func leaving(_ list: OwnList, _ target: UserID, of user: UserID) -> SQL {
        """
        DELETE FROM \(fragment: list.table)
        WHERE bucket = \(user.bucket) AND user_id = \(user) AND target_id = \(target)
        """
    }

    /// Keeps what a user notes about another, for themselves; an empty text takes it away.
    package func note(
        _ comment: String,
        about target: UserID,
        by user: UserID
    ) async throws(DatabaseError) -> RelationshipEntity {
        let change: SQL =
            if comment.isEmpty {
                """
                DELETE FROM graph.note
                WHERE bucket = \(user.bucket) AND user_id = \(user) AND target_id = \(target)
                """
            } else {
                """
                INSERT INTO graph.note (bucket, user_id, target_id, comment)
                VALUES (\(user.bucket), \(user), \(target), \(comment))
                ON CONFLICT (bucket, user_id, target_id) DO UPDATE
                SET comment = excluded.comment
                """
            }
        return try await write(by: user, about: target, [change])
    }
}

/// Lists of users that only their owner knows.
package enum OwnList: Sendable {
    case closeFriends, restricted

    var table: SQL {
        switch self {
        case .closeFriends: "graph.close_friend"
        case .restricted: "graph.restriction"
        }
    }
}
