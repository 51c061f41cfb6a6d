import Contracts
import Counters
import Jobs
import Postgres
import Sharding

/// One actor's wish to like a post, or to like it no more.
struct LikeChange: Routed {
    /// Two changes of one pair never share a transaction.
    struct Pair: Hashable {
        let post: PostID
        let actor: UserID
    }

    let post: PostID
    let actor: UserID
    let likes: Bool
    let trace: String?

    var bucket: BucketID { post.bucket }
    var pair: Pair { Pair(post: post, actor: actor) }
}

/// What became of a change.
enum LikeOutcome: Sendable, Equatable {
    case changed
    /// It was so already.
    case unchanged
    /// The post does not exist any more.
    case gone
}

// The statements of a group of changes, each of another pair: rows, counts and effects stand or fall together, and of
// two simultaneous likes of one actor the second finds the row of the first.
extension LikeChange {
    /// Changes whose mirrors lie on one shard travel in one effect.
    static func statements(
        _ changes: [LikeChange],
        shard: (UserID) -> ShardID
    ) -> [SQL] {
        var known: [ShardID: Int16] = [:]
        let places = changes.map { change in
            let shard = shard(change.actor)
            let place = known[shard] ?? Int16(known.count)
            known[shard] = place
            return place
        }
        let asked: SQL = """
            unnest(
                \(changes.map(\.bucket))::smallint[], \(changes.map(\.post))::bigint[],
                \(changes.map(\.actor))::bigint[], \(changes.map(\.likes))::boolean[],
                \(places)::smallint[], \(changes.map(\.trace))::text[]
            )
            """
        let statement = statement(
            asked,
            likes: changes.contains(where: \.likes),
            unlikes: changes.contains { !$0.likes }
        )
        return changes.count > 1 ? [locking(asked), statement] : [statement]
    }

    /// Takes the rows that are there in the order of their keys: two groups cannot wait for each other.
    private static func locking(_ asked: SQL) -> SQL {
        """
        SELECT
        FROM posts.favourite AS f
        JOIN \(fragment: asked) AS a (bucket, post, actor)
            ON f.bucket = a.bucket AND f.post = a.post AND f.actor = a.actor
        ORDER BY f.bucket, f.post, f.actor
        FOR NO KEY UPDATE OF f
        """
    }

    /// Without the part that nobody asks for: workers may take likes back, and not give any.
    private static func statement(_ asked: SQL, likes: Bool, unlikes: Bool) -> SQL {
        var statement: SQL = """
            WITH asked AS MATERIALIZED (
                SELECT a.number, a.bucket, a.post, a.actor, a.likes, a.place, a.trace, p.author,
                    p.id IS NOT NULL AND p.deleted_at IS NULL AS lives
                FROM \(fragment: asked) WITH ORDINALITY
                    AS a (bucket, post, actor, likes, place, trace, number)
                LEFT JOIN posts.post AS p ON p.bucket = a.bucket AND p.id = a.post
            )
            """
        if likes { statement += liked }
        if unlikes { statement += unliked }
        var changed: SQL = likes ? "SELECT * FROM liked" : "SELECT * FROM unliked"
        if likes && unlikes { changed += " UNION ALL SELECT * FROM unliked" }
        return """
            \(fragment: statement), changed AS (
                \(fragment: changed)
            ), moved AS (
                SELECT bucket, post AS subject,
                    sum(CASE WHEN active THEN 1 ELSE -1 END)::integer AS amount
                FROM changed
                GROUP BY bucket, post
            ), counted AS (
                \(fragment: Counters.append(kind: CounterKind.likes, forEach: "moved"))
            ), effect AS (
                SELECT c.bucket,
                    jsonb_build_object('likes', jsonb_agg(jsonb_build_array(
                        c.actor::text, c.post::text, c.id::text, c.version, c.active
                    ))) AS payload,
                    min(a.trace) AS traceparent
                FROM changed AS c
                JOIN asked AS a USING (bucket, post, actor)
                GROUP BY c.bucket, a.place
            ), mirrored AS (
                \(fragment: Effect.enqueue(
                    EffectKinds.postsFavourite, version: LikesEffect.version, forEach: "effect"))
            ), notice AS (
                SELECT c.bucket,
                    jsonb_build_object(
                        'recipient', a.author::text,
                        'kind', \(NotificationKind.favourite.rawValue)::text,
                        'actor', c.actor::text,
                        'post', c.post::text,
                        'version', c.version,
                        'active', c.active
                    ) AS payload,
                    a.trace AS traceparent
                FROM changed AS c
                JOIN asked AS a USING (bucket, post, actor)
                WHERE a.author <> c.actor
            ), notified AS (
                \(fragment: Effect.enqueue(EffectKinds.notify, version: 1, forEach: "notice"))
            )
            SELECT a.lives, c.actor IS NOT NULL
            FROM asked AS a
            LEFT JOIN changed AS c USING (bucket, post, actor)
            ORDER BY a.number
            """
    }

    private static let liked: SQL = """
        , numbered AS (
            SELECT bucket, post, actor,
                row_number() OVER (PARTITION BY bucket ORDER BY number) AS place
            FROM asked
            WHERE likes AND lives
        ), ids AS MATERIALIZED (
            SELECT n.bucket, i.id, i.place
            FROM (
                SELECT bucket, count(*)::integer AS wanted FROM numbered GROUP BY bucket
            ) AS n
            CROSS JOIN LATERAL control.next_ids(n.bucket, n.wanted)
                WITH ORDINALITY AS i (id, place)
        ), liked AS (
            INSERT INTO posts.favourite AS f (bucket, post, actor, id)
            SELECT n.bucket, n.post, n.actor, i.id
            FROM numbered AS n
            JOIN ids AS i USING (bucket, place)
            ORDER BY n.bucket, n.post, n.actor
            ON CONFLICT (bucket, post, actor) DO UPDATE
            SET active = true, version = f.version + 1, id = excluded.id
            WHERE NOT f.active
            RETURNING f.bucket, f.post, f.actor, f.id, f.version, f.active
        )
        """

    private static let unliked: SQL = """
        , unliked AS (
            UPDATE posts.favourite AS f
            SET active = false, version = f.version + 1
            FROM asked AS a
            WHERE NOT a.likes AND f.bucket = a.bucket AND f.post = a.post AND f.actor = a.actor
              AND f.active
            RETURNING f.bucket, f.post, f.actor, f.id, f.version, f.active
        )
        """

    static func outcomes(
        _ changes: [LikeChange],
        _ rows: [Rows]
    ) throws(DatabaseError) -> [LikeOutcome] {
        try rows[rows.count - 1].map { (row) throws(DatabaseError) in
            let lives: Bool = try row.next()
            let isChanged: Bool = try row.next()
            return isChanged ? .changed : lives ? .unchanged : .gone
        }
    }
}
