import Contracts
import Counters
import Database
import JSON
import Jobs
import Postgres
import Sharding

/// Every statement about posts themselves; likes, bookmarks and answers have files of their own.
struct PostStore: Sendable {
    let database: Database

    /// What ``CountedPost`` reads, of a post named `p`.
    static let columns: SQL = """
        p.id, p.author, p.text, p.spoiler_text, p.sensitive, p.language, p.visibility,
        p.close_friends, p.media, p.mentions, p.mention_names, p.in_reply_to, p.in_reply_to_author,
        p.root, p.root_author, p.application_name, p.application_website, p.created_at, p.edited_at,
        p.pinned_at IS NOT NULL, p.held, p.hides_likes, p.reblog_of, p.reblog_author, p.details,
        p.untagged, counts.likes, counts.replies, counts.reblogs, counts.options, counts.voters
        """

    /// The counts of a post named `p`, for `CROSS JOIN LATERAL`.
    static let counts: SQL = """
        (
            SELECT
                coalesce(sum(c.value) FILTER (
                    WHERE c.kind = \(CounterKind.likes.rawValue)), 0)::bigint AS likes,
                coalesce(sum(c.value) FILTER (
                    WHERE c.kind = \(CounterKind.replies.rawValue)), 0)::bigint AS replies,
                coalesce(sum(c.value) FILTER (
                    WHERE c.kind = \(CounterKind.reblogs.rawValue)), 0)::bigint AS reblogs,
                ARRAY[
                    \(fragment: option(0)), \(fragment: option(1)), \(fragment: option(2)),
                    \(fragment: option(3))
                ] AS options,
                coalesce(sum(c.value) FILTER (
                    WHERE c.kind = \(CounterKind.voters.rawValue)), 0)::bigint AS voters
            FROM counters.current AS c
            WHERE c.bucket = p.bucket AND c.subject = p.id
        ) AS counts
        """

    private static func option(_ number: Int) -> SQL {
        """
        coalesce(sum(c.value) FILTER (
            WHERE c.kind = \(PollStore.optionCounts[number].rawValue)), 0)::bigint
        """
    }

    // MARK: Reading

    /// The posts among these that exist and are not deleted, one query a shard.
    func posts(_ ids: [PostID]) async throws(DatabaseError) -> [CountedPost] {
        try await database.gather(ids) { ids in
            """
            SELECT \(fragment: Self.columns)
            FROM unnest(\(ids.map(\.bucket))::smallint[], \(ids)::bigint[]) AS wanted (bucket, id)
            JOIN posts.post AS p ON p.bucket = wanted.bucket AND p.id = wanted.id
            CROSS JOIN LATERAL \(fragment: Self.counts)
            WHERE p.deleted_at IS NULL
            """
        }
    }

    func post(_ id: PostID) async throws(DatabaseError) -> CountedPost? {
        try await database.row(
            """
            SELECT \(fragment: Self.columns)
            FROM posts.post AS p
            CROSS JOIN LATERAL \(fragment: Self.counts)
            WHERE p.bucket = \(id.bucket) AND p.id = \(id) AND p.deleted_at IS NULL
            """,
            on: id
        )
    }

    /// What belongs into home feeds, newest first, one statement a shard.
    ///
    /// The bounds of ids are part of the index: however many posts an author has, no more are read than are taken.
    func recent(
        of authors: [UserID],
        in window: FeedWindow
    ) async throws(DatabaseError) -> [PostReference] {
        let order = window.isAscending ? "ASC" : "DESC"
        let rows: [ReferenceRow] = try await database.gather(authors) { authors in
            """
            SELECT p.id, p.author
            FROM unnest(\(authors.map(\.bucket))::smallint[], \(authors)::bigint[])
                AS a (bucket, author)
            CROSS JOIN LATERAL (
                SELECT p.id, p.author
                FROM posts.post AS p
                WHERE p.bucket = a.bucket AND p.author = a.author
                  AND p.deleted_at IS NULL AND p.in_reply_to IS NULL
                  AND (p.visibility < 3 OR p.close_friends)
                  AND p.id > \(window.above) AND p.id < \(window.below)
                ORDER BY p.id \(unsafe: order)
                LIMIT \(window.limit)
            ) AS p
            ORDER BY p.id \(unsafe: order)
            LIMIT \(window.limit)
            """
        }
        return window.cut(rows.map(\.reference).sorted { $0.id > $1.id })
    }

    /// How many of them there are from an id on; each shard counts up to `limit`.
    func recentCount(
        of authors: [UserID],
        from id: Int64,
        limit: Int
    ) async throws(DatabaseError) -> Int {
        let counts: [Int64] = try await database.gather(authors) { authors in
            """
            SELECT count(*)
            FROM (
                SELECT
                FROM unnest(\(authors.map(\.bucket))::smallint[], \(authors)::bigint[])
                    AS a (bucket, author)
                CROSS JOIN LATERAL (
                    SELECT
                    FROM posts.post AS p
                    WHERE p.bucket = a.bucket AND p.author = a.author
                      AND p.deleted_at IS NULL AND p.in_reply_to IS NULL
                      AND (p.visibility < 3 OR p.close_friends)
                      AND p.id >= \(id)
                    LIMIT \(limit)
                ) AS p
                LIMIT \(limit)
            ) AS newer
            """
        }
        return Int(counts.reduce(0, +))
    }

    /// Which posts of one author a list shows.
    struct AuthorFilter: Sendable {
        var onlyMedia = false
        var excludeReplies = false
        var excludeReblogs = false
        var onlyPinned = false
        /// What the viewer may see.
        var audiences: Set<Visibility>

        var codes: [Int16] {
            audiences.filter { $0 != .closeFriends }.map(\.code).sorted()
        }
    }

    func ids(
        of author: UserID,
        filter: AuthorFilter,
        lower: Int64,
        upper: Int64,
        ascending: Bool,
        limit: Int
    ) async throws(DatabaseError) -> [PostID] {
        try await database.rows(
            """
            SELECT p.id
            FROM posts.post AS p
            WHERE p.bucket = \(author.bucket) AND p.author = \(author) AND p.deleted_at IS NULL
              AND p.id > \(lower) AND p.id < \(upper)
              AND CASE WHEN p.close_friends
                  THEN \(filter.audiences.contains(.closeFriends))::boolean
                  ELSE p.visibility = ANY (\(filter.codes)::smallint[]) END
              AND (NOT \(filter.onlyMedia)::boolean OR cardinality(p.media) > 0)
              AND (NOT \(filter.excludeReplies)::boolean OR p.in_reply_to IS NULL)
              AND (NOT \(filter.excludeReblogs)::boolean OR p.reblog_of IS NULL)
              AND (NOT \(filter.onlyPinned)::boolean OR p.pinned_at IS NOT NULL)
            ORDER BY p.id \(unsafe: ascending ? "ASC" : "DESC")
            LIMIT \(limit)
            """,
            on: author
        )
    }

    /// Public posts of everybody, in the order asked for; each shard is asked for as many, and all must answer.
    func publicPosts(
        lower: Int64,
        upper: Int64,
        ascending: Bool,
        onlyMedia: Bool,
        limit: Int
    ) async throws(DatabaseError) -> [PostReference] {
        let answers: [(ShardID, [ReferenceRow])] = try await database.everyShard(
            """
            SELECT p.id, p.author
            FROM posts.post AS p
            JOIN control.bucket_owner AS o
                ON o.bucket = p.bucket AND o.state IN ('own', 'fenced')
            WHERE p.deleted_at IS NULL AND p.visibility = 0 AND p.in_reply_to IS NULL
              AND p.reblog_of IS NULL AND p.id > \(lower) AND p.id < \(upper)
              AND (NOT \(onlyMedia)::boolean OR cardinality(p.media) > 0)
            ORDER BY p.id \(unsafe: ascending ? "ASC" : "DESC")
            LIMIT \(limit)
            """
        )
        return answers.flatMap { $0.1.map(\.reference) }
    }

    func edits(of post: PostID) async throws(DatabaseError) -> [EditRow] {
        try await database.rows(
            """
            SELECT created_at, text, spoiler_text, sensitive, media
            FROM posts.edit
            WHERE bucket = \(post.bucket) AND post = \(post)
            ORDER BY created_at
            """,
            on: post
        )
    }

    // MARK: Writing

    /// A new id in the author's bucket.
    func nextID(for author: UserID) async throws(DatabaseError) -> PostID {
        // The clock is written: a read may be sent to wherever the rows can be read.
        let rows = try await database.write(
            on: author,
            ["SELECT control.next_id(\(author.bucket)::smallint)"]
        )
        guard let id: PostID = try rows[0].first() else {
            throw .decoding("control.next_id gave no row")
        }
        return id
    }

    /// Some of an author's posts that are not deleted yet.
    func some(of author: UserID, limit: Int) async throws(DatabaseError) -> [CountedPost] {
        try await database.rows(
            """
            SELECT \(fragment: Self.columns)
            FROM posts.post AS p
            CROSS JOIN LATERAL \(fragment: Self.counts)
            WHERE p.bucket = \(author.bucket) AND p.author = \(author) AND p.deleted_at IS NULL
            ORDER BY p.id DESC
            LIMIT \(limit)
            """,
            on: author
        )
    }

    static func insert(_ post: Post) -> SQL {
        """
        INSERT INTO posts.post (
            bucket, id, author, text, spoiler_text, sensitive, language, visibility, close_friends,
            media, mentions, mention_names, in_reply_to, in_reply_to_author, root, root_author,
            reblog_of, reblog_author, held, hides_likes, application_name, application_website,
            created_at, details
        ) VALUES (
            \(post.id.bucket), \(post.id), \(post.author), \(post.text), \(post.spoilerText),
            \(post.sensitive), \(post.language), \(post.visibility.code),
            \(post.visibility == .closeFriends), \(post.media), \(post.mentions.map(\.user)),
            \(post.mentions.map(\.username)), \(post.inReplyTo), \(post.inReplyToAuthor),
            \(post.root), \(post.rootAuthor), \(post.reblogOf?.id), \(post.reblogOf?.author),
            \(post.isHeld), \(post.hidesLikes), \(post.application?.name),
            \(post.application?.website), \(post.createdAt), \(JSONText(post.details.jsonBytes))
        )
        """
    }

    /// Fails on the primary key where one of the photos belongs to another post already.
    static func attach(_ media: [MediaID], to post: PostID) -> SQL {
        """
        INSERT INTO posts.attachment (bucket, media, post)
        SELECT \(post.bucket), media, \(post)
        FROM unnest(\(media)::bigint[]) AS m (media)
        """
    }

    static func detach(_ media: [MediaID], from post: PostID) -> SQL {
        """
        DELETE FROM posts.attachment
        WHERE bucket = \(post.bucket) AND post = \(post) AND media = ANY (\(media)::bigint[])
        """
    }

    /// Keeps the version that a post has, before it is changed by the same write.
    static func keepVersion(of post: PostID) -> SQL {
        """
        INSERT INTO posts.edit (bucket, post, created_at, text, spoiler_text, sensitive, media)
        SELECT bucket, id, coalesce(edited_at, created_at), text, spoiler_text, sensitive, media
        FROM posts.post
        WHERE bucket = \(post.bucket) AND id = \(post) AND deleted_at IS NULL
        ON CONFLICT (bucket, post, created_at) DO NOTHING
        """
    }

    /// Answers no row where the post is gone.
    static func update(_ post: Post) -> SQL {
        """
        UPDATE posts.post
        SET text = \(post.text), spoiler_text = \(post.spoilerText),
            sensitive = \(post.sensitive), language = \(post.language), media = \(post.media),
            mentions = \(post.mentions.map(\.user)),
            mention_names = \(post.mentions.map(\.username)), hides_likes = \(post.hidesLikes),
            edited_at = \(post.editedAt), details = \(JSONText(post.details.jsonBytes)),
            version = version + 1
        WHERE bucket = \(post.id.bucket) AND id = \(post.id) AND author = \(post.author)
          AND deleted_at IS NULL
        RETURNING id
        """
    }

    /// Tombstones a post and causes what follows, once: a second call changes nothing and answers no row.
    static func delete(_ post: Post, effects: [Effect]) -> SQL {
        var statement: SQL = """
            WITH gone AS (
                UPDATE posts.post
                SET deleted_at = now(), pinned_at = NULL, version = version + 1
                WHERE bucket = \(post.id.bucket) AND id = \(post.id) AND author = \(post.author)
                  AND deleted_at IS NULL
                RETURNING id, visibility < 2 AND NOT held AS was_counted
            ), detached AS (
                DELETE FROM posts.attachment
                WHERE bucket = \(post.id.bucket) AND post IN (SELECT id FROM gone)
            ), uncounted AS (
                SELECT id FROM gone WHERE was_counted
            ), counted AS (
                \(fragment: Counters.append(
                    subject: post.author, kind: CounterKind.statuses, amount: -1,
                    forEach: "uncounted"))
            )
            """
        for (index, effect) in effects.enumerated() {
            statement += """
                , effect\(unsafe: String(index)) AS (\(fragment: effect.enqueue(whenAny: "gone")))
                """
        }
        return statement + " SELECT id FROM gone"
    }

    /// Answers no row where the post is gone or is not the author's.
    static func pin(_ post: PostID, by author: UserID, _ pinned: Bool) -> SQL {
        """
        UPDATE posts.post
        SET pinned_at = CASE WHEN \(pinned)::boolean THEN coalesce(pinned_at, now()) END
        WHERE bucket = \(post.bucket) AND id = \(post) AND author = \(author)
          AND deleted_at IS NULL
        RETURNING id
        """
    }

    func pinnedCount(of author: UserID) async throws(DatabaseError) -> Int {
        try await database.row(
            """
            SELECT count(*)
            FROM posts.post
            WHERE bucket = \(author.bucket) AND author = \(author) AND deleted_at IS NULL
              AND pinned_at IS NOT NULL
            """,
            on: author
        ) ?? 0
    }

    /// How many posts there are on all shards, about.
    func estimatedCount() async throws(DatabaseError) -> Int {
        try await database.estimatedRows(of: "posts.post")
    }
}

struct ReferenceRow: RowDecodable {
    let reference: PostReference

    init(row: inout Row) throws(DatabaseError) {
        reference = PostReference(id: try row.next(), author: try row.next())
    }
}

/// A version that a post had.
struct EditRow: RowDecodable {
    let createdAt: Timestamp
    let text: String
    let spoilerText: String
    let sensitive: Bool
    let media: [MediaID]

    init(row: inout Row) throws(DatabaseError) {
        createdAt = try row.next()
        text = try row.next()
        spoilerText = try row.next()
        sensitive = try row.next()
        media = try row.next()
    }
}
