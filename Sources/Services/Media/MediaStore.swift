import Contracts
import Database
import Postgres
import Sharding

/// Every statement of Media.
struct MediaStore: Sendable {
    /// How long what nobody attaches is kept.
    static let unattachedSeconds = 24.0 * 3600

    /// How long an upload may take until it counts as left behind.
    static let pendingSeconds = 3600.0

    /// How long what a post is about to attach is kept at least.
    static let attachingSeconds = 2.0 * 3600

    /// How long a replaced avatar is still served.
    static let replacedSeconds = 24.0 * 3600

    private let database: Database

    init(database: Database) { self.database = database }

    // MARK: Upload

    /// Announces a medium before its files are stored.
    func begin(
        _ name: MediumName,
        use: MediumUse,
        owner: UserID
    ) async throws(DatabaseError) -> MediaID {
        let rows = try await database.write(
            on: owner,
            [
                """
                INSERT INTO media.medium (bucket, id, owner_id, use, state, name, generation, expires_at)
                SELECT \(owner.bucket)::smallint, control.next_id(\(owner.bucket)::smallint),
                    \(owner)::bigint, \(use.rawValue)::smallint,
                    \(MediumState.pending.rawValue)::smallint, \(name.random)::text,
                    \(Int32(name.generation))::integer,
                    now() + \(Self.pendingSeconds)::float8 * interval '1 second'
                RETURNING id
                """
            ]
        )
        guard let id: MediaID = try rows[0].first() else {
            throw .decoding("INSERT INTO media.medium returned no id")
        }
        return id
    }

    /// The statement that makes a photo of a post ready; for the write that answers the upload.
    func readying(_ medium: MediumRecord) -> SQL {
        """
        UPDATE media.medium
        SET state = \(MediumState.ready.rawValue), original_file = \(medium.originalFile),
            small_file = \(medium.smallFile), width = \(Int32(medium.width)),
            height = \(Int32(medium.height)), small_width = \(Int32(medium.smallWidth)),
            small_height = \(Int32(medium.smallHeight)), blurhash = \(medium.blurhash),
            description = \(medium.description), focus_x = \(medium.focus?.x),
            focus_y = \(medium.focus?.y),
            expires_at = now() + \(Self.unattachedSeconds) * interval '1 second'
        WHERE bucket = \(medium.id.bucket) AND id = \(medium.id)
            AND state = \(MediumState.pending.rawValue)
        """
    }

    /// Makes a picture of a profile ready, for good, and lets all but the newest two of its kind expire.
    func readyProfile(
        _ id: MediaID,
        use: MediumUse,
        owner: UserID,
        file: String,
        width: Int,
        height: Int
    ) async throws(DatabaseError) {
        try await database.write(
            on: owner,
            [
                """
                UPDATE media.medium
                SET state = \(MediumState.attached.rawValue), original_file = \(file),
                    width = \(Int32(width)), height = \(Int32(height)), expires_at = NULL
                WHERE bucket = \(owner.bucket) AND id = \(id)
                    AND state = \(MediumState.pending.rawValue)
                """,
                """
                UPDATE media.medium
                SET state = \(MediumState.deleted.rawValue),
                    expires_at = now() + \(Self.replacedSeconds) * interval '1 second'
                WHERE bucket = \(owner.bucket) AND owner_id = \(owner) AND use = \(use.rawValue)
                    AND state = \(MediumState.attached.rawValue)
                    AND id < (
                        SELECT min(newest.id)
                        FROM (
                            SELECT id
                            FROM media.medium
                            WHERE bucket = \(owner.bucket) AND owner_id = \(owner)
                                AND use = \(use.rawValue)
                                AND state = \(MediumState.attached.rawValue)
                            ORDER BY id DESC
                            LIMIT 2
                        ) AS newest
                    )
                """,
            ]
        )
    }

    // MARK: Reading

    private static let columns: SQL = """
        id, owner_id, state, name, generation, original_file, small_file, width, height, small_width,
        small_height, blurhash, description, focus_x, focus_y
        """

    /// The ready photos among these, of any owner.
    func media(_ ids: [MediaID]) async throws(DatabaseError) -> [MediumRecord] {
        try await database.gather(ids) { ids in
            """
            SELECT \(fragment: Self.columns)
            FROM media.medium
            WHERE bucket = ANY(\(Array(Set(ids.map(\.bucket))).sorted().map(\.rawValue)))
                AND id = ANY(\(ids))
                AND use = 0 AND state IN (1, 2)
            """
        }
    }

    /// The media that posts show; they lie beside them, in their owner's bucket.
    func media(of posts: [PostID]) async throws(DatabaseError) -> [MediumRecord] {
        try await database.gather(posts) { posts in
            """
            SELECT \(fragment: Self.columns)
            FROM media.medium
            WHERE (bucket, id) IN (
                    SELECT a.bucket, a.media
                    FROM unnest(\(posts.map(\.bucket.rawValue))::smallint[], \(posts)::bigint[])
                        AS shown (bucket, post)
                    JOIN posts.attached AS a USING (bucket, post)
                )
                AND use = 0 AND state IN (1, 2)
            """
        }
    }

    /// The owner's ready photo.
    func medium(_ id: MediaID, owner: UserID) async throws(DatabaseError) -> MediumRecord? {
        try await database.row(
            """
            SELECT \(fragment: Self.columns)
            FROM media.medium
            WHERE bucket = \(id.bucket) AND id = \(id) AND owner_id = \(owner) AND use = 0
                AND state IN (1, 2)
            """,
            on: id
        )
    }

    // MARK: Changes

    /// The owner's photos among these that are ready, which from now on are kept for a while.
    func attachable(
        _ ids: [MediaID],
        owner: UserID
    ) async throws(DatabaseError) -> [MediumRecord] {
        let rows = try await database.write(
            on: owner,
            [
                """
                UPDATE media.medium
                SET expires_at = greatest(
                    expires_at, now() + \(Self.attachingSeconds) * interval '1 second'
                )
                WHERE bucket = \(owner.bucket) AND id = ANY(\(ids)) AND owner_id = \(owner)
                    AND use = 0 AND state IN (1, 2)
                RETURNING \(fragment: Self.columns)
                """
            ]
        )
        return try rows[0].decode()
    }

    /// Sets what is not nil, on the owner's photo; nil when there is none (or it is attached and may not be).
    func describe(
        _ id: MediaID,
        owner: UserID,
        description: String?,
        focus: MediaAttachmentEntity.Focus?,
        unattachedOnly: Bool
    ) async throws(DatabaseError) -> MediumRecord? {
        let rows = try await database.write(
            on: owner,
            [
                """
                UPDATE media.medium
                SET description = coalesce(\(description)::text, description),
                    focus_x = coalesce(\(focus?.x)::float8, focus_x),
                    focus_y = coalesce(\(focus?.y)::float8, focus_y)
                WHERE bucket = \(owner.bucket) AND id = \(id) AND owner_id = \(owner) AND use = 0
                    AND (state = 1 OR state = 2 AND NOT \(unattachedOnly))
                RETURNING \(fragment: Self.columns)
                """
            ]
        )
        return try rows[0].first()
    }

    /// Gives an unattached photo up; false when the owner has none with that id.
    func discard(_ id: MediaID, owner: UserID) async throws(DatabaseError) -> Bool {
        let rows = try await database.write(
            on: owner,
            [
                """
                UPDATE media.medium
                SET state = \(MediumState.deleted.rawValue), expires_at = now()
                WHERE bucket = \(owner.bucket) AND id = \(id) AND owner_id = \(owner) AND use = 0
                    AND state = \(MediumState.ready.rawValue)
                """
            ]
        )
        return rows[0].affected > 0
    }

    // MARK: Effects

    /// A post shows the media. Says nothing about a post that has been deleted already.
    func attach(_ media: [MediaID], to post: PostID) async throws(DatabaseError) {
        try await database.write(
            on: post,
            [
                """
                INSERT INTO media.attachment (bucket, medium_id, post_id, detached)
                SELECT \(post.bucket)::smallint, medium_id, \(post)::bigint, false
                FROM unnest(\(media)::bigint[]) AS medium_id
                ON CONFLICT DO NOTHING
                """,
                """
                UPDATE media.medium AS m
                SET state = \(MediumState.attached.rawValue), expires_at = NULL
                WHERE m.bucket = \(post.bucket) AND m.id = ANY(\(media))
                    AND m.state IN (1, 2)
                    AND EXISTS (
                        SELECT
                        FROM media.attachment AS a
                        WHERE a.bucket = m.bucket AND a.medium_id = m.id AND NOT a.detached
                    )
                """,
            ]
        )
    }

    /// A post that showed the media is deleted; those that no other post shows expire now.
    func detach(_ media: [MediaID], from post: PostID) async throws(DatabaseError) {
        try await database.write(
            on: post,
            [
                """
                INSERT INTO media.attachment (bucket, medium_id, post_id, detached)
                SELECT \(post.bucket)::smallint, medium_id, \(post)::bigint, true
                FROM unnest(\(media)::bigint[]) AS medium_id
                ON CONFLICT (bucket, medium_id, post_id) DO UPDATE SET detached = true
                """,
                """
                UPDATE media.medium AS m
                SET state = \(MediumState.deleted.rawValue), expires_at = now()
                WHERE m.bucket = \(post.bucket) AND m.id = ANY(\(media))
                    AND m.state IN (1, 2)
                    AND NOT EXISTS (
                        SELECT
                        FROM media.attachment AS a
                        WHERE a.bucket = m.bucket AND a.medium_id = m.id AND NOT a.detached
                    )
                """,
            ]
        )
    }

    /// Gives up the pictures of a profile; the newest two of each use, since older ones expire already.
    func withdrawProfile(of owner: UserID) async throws(DatabaseError) {
        try await database.write(
            on: owner,
            [
                """
                UPDATE media.medium
                SET state = \(MediumState.deleted.rawValue), expires_at = now()
                WHERE bucket = \(owner.bucket) AND owner_id = \(owner) AND use > 0
                    AND state < \(MediumState.deleted.rawValue)
                """
            ]
        )
    }

    // MARK: Collecting

    /// Media of one shard whose time is over, oldest first.
    func expired(on shard: ShardID, limit: Int) async throws(DatabaseError) -> [ExpiredMedium] {
        try await database.rows(
            """
            SELECT m.id, m.name, m.generation
            FROM media.medium AS m
            JOIN control.bucket_owner AS o ON o.bucket = m.bucket AND o.state = 'own'
            WHERE m.expires_at < now()
            ORDER BY m.expires_at
            LIMIT \(limit)
            """,
            onShard: shard
        )
    }

    /// Turns an expired medium into a tombstone whose files may go; false while something may still want it.
    ///
    /// A post that has just attached it has said so in an effect; while one waits in this bucket, or was given up,
    /// nothing that was ready is taken away.
    func bury(_ id: MediaID) async throws(DatabaseError) -> Bool {
        let rows = try await database.write(
            on: id,
            [
                """
                UPDATE media.medium AS m
                SET state = \(MediumState.deleted.rawValue)
                WHERE m.bucket = \(id.bucket) AND m.id = \(id) AND m.expires_at < now()
                    AND (
                        m.state IN (0, 3)
                        OR NOT EXISTS (
                            SELECT
                            FROM jobs.outbox AS waiting
                            WHERE waiting.bucket = m.bucket
                                AND waiting.kind = \(EffectKinds.mediaAttached)
                        )
                        AND NOT EXISTS (
                            SELECT
                            FROM jobs.dead AS given_up
                            WHERE given_up.bucket = m.bucket
                                AND given_up.kind = \(EffectKinds.mediaAttached)
                        )
                    )
                """
            ]
        )
        return rows[0].affected > 0
    }

    /// Says that the files of a tombstone are gone.
    func forgetFiles(of id: MediaID) async throws(DatabaseError) {
        try await database.write(
            on: id,
            [
                """
                UPDATE media.medium
                SET expires_at = NULL
                WHERE bucket = \(id.bucket) AND id = \(id)
                    AND state = \(MediumState.deleted.rawValue)
                """
            ]
        )
    }
}

/// A photo as its row holds it.
struct MediumRecord: Sendable, RowDecodable {
    var id: MediaID
    var owner: UserID
    var state: MediumState
    var name: MediumName
    var originalFile: String
    var smallFile: String
    var width: Int
    var height: Int
    var smallWidth: Int
    var smallHeight: Int
    var blurhash: String
    var description: String?
    var focus: MediaAttachmentEntity.Focus?

    init(row: inout Row) throws(DatabaseError) {
        id = try row.next()
        owner = try row.next()
        let number: Int16 = try row.next()
        guard let state = MediumState(rawValue: number) else { throw .decoding("state \(number)") }
        self.state = state
        name = MediumName(random: try row.next(), generation: try row.next())
        originalFile = try row.next()
        smallFile = try row.next()
        width = try row.next()
        height = try row.next()
        smallWidth = try row.next()
        smallHeight = try row.next()
        blurhash = try row.next()
        description = try row.next()
        let x: Double? = try row.next()
        let y: Double? = try row.next()
        if let x, let y { focus = MediaAttachmentEntity.Focus(x: x, y: y) }
    }

    init(id: MediaID, owner: UserID, name: MediumName, image: ProcessedImage) {
        self.id = id
        self.owner = owner
        self.name = name
        state = .ready
        originalFile = image.original.file
        smallFile = image.small.file
        width = image.original.width
        height = image.original.height
        smallWidth = image.small.width
        smallHeight = image.small.height
        blurhash = image.blurhash
    }
}

struct ExpiredMedium: Sendable, RowDecodable {
    let id: MediaID
    let name: MediumName

    init(row: inout Row) throws(DatabaseError) {
        id = try row.next()
        name = MediumName(random: try row.next(), generation: try row.next())
    }
}
