import Contracts
import JSON
import Jobs
import Postgres
import Sharding

/// A like as the actor's own list has it, or had it.
struct MirroredLike: Routed, Equatable, RowDecodable {
    struct Pair: Hashable {
        let actor: UserID
        let post: PostID
    }

    let actor: UserID
    let post: PostID
    /// The order of lists.
    let id: Int64
    let version: Int64
    let active: Bool

    var bucket: BucketID { actor.bucket }
    var pair: Pair { Pair(actor: actor, post: post) }

    init(row: inout Row) throws(DatabaseError) {
        actor = try row.next()
        post = try row.next()
        id = try row.next()
        version = try row.next()
        active = try row.next()
    }

    fileprivate init?(_ json: JSONValue) {
        guard let fields = json.array, fields.count == 5,
            let actor = fields[0].string.flatMap({ UserID($0) }),
            let post = fields[1].string.flatMap({ PostID($0) }),
            let id = fields[2].string.flatMap({ Int64($0) }),
            let version = fields[3].int64,
            let active = fields[4].bool
        else { return nil }
        self.actor = actor
        self.post = post
        self.id = id
        self.version = version
        self.active = active
    }

    /// Makes the actors' lists say so, unless they know newer versions.
    static func statement(_ likes: [MirroredLike]) -> SQL {
        """
        INSERT INTO posts.favourited AS f (bucket, actor, post, id, version, active)
        SELECT bucket, actor, post, id, version, active
        FROM unnest(
            \(likes.map(\.bucket))::smallint[], \(likes.map(\.actor))::bigint[],
            \(likes.map(\.post))::bigint[], \(likes.map(\.id))::bigint[],
            \(likes.map(\.version))::bigint[], \(likes.map(\.active))::boolean[]
        ) AS l (bucket, actor, post, id, version, active)
        ORDER BY bucket, actor, post
        ON CONFLICT (bucket, actor, post) DO UPDATE
        SET id = excluded.id, version = excluded.version, active = excluded.active
        WHERE f.version < excluded.version
        """
    }
}

/// Payload of `posts.favourite` since version 2: likes that one transaction changed, as they were after it.
struct LikesEffect {
    static let version: Int16 = 2

    let likes: [MirroredLike]

    init?(_ json: JSONValue) {
        guard let list = json["likes"]?.array else { return nil }
        likes = list.compactMap { MirroredLike($0) }
        guard likes.count == list.count else { return nil }
    }
}

/// Carries likes to the actors' own lists.
///
/// A like comes with its version, and the list takes what is newer: effects may come late, twice and in any order. What
/// a worker has at one time is written together, a statement for each shard.
struct MirrorFavourite: EffectHandler {
    let kind = EffectKinds.postsFavourite
    let version = LikesEffect.version
    let favourites: FavouriteStore

    func target(of effect: ClaimedEffect) -> BucketID? {
        // What cannot be read has no target; `handle` buries it.
        if effect.version < LikesEffect.version {
            return (try? effect.decode(FavouriteEffect.init))?.actor.bucket
        }
        return (try? effect.decode(LikesEffect.init))?.likes.first?.bucket
    }

    func handle(_ effect: ClaimedEffect) async throws {
        guard effect.version < LikesEffect.version else {
            return try await favourites.mirror(effect.decode(LikesEffect.init).likes)
        }
        // The first version names a pair only.
        let pair = try effect.decode(FavouriteEffect.init)
        guard let truth = try await favourites.truth(of: pair.actor, on: pair.post) else { return }
        try await favourites.mirror([truth])
    }
}
