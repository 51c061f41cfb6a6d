import JSON
import Sharding

/// The kinds of effects, as their outbox rows name them.
///
/// A kind belongs to the service in front of the dot: it alone handles it. Who enqueues it writes the
/// payload of the same name; a payload that changes its meaning gets a new version of the kind.
package enum EffectKinds {
    /// A post is published: into the feeds of its author's followers. ``PostEffect``.
    package static let feedFanOut = "feed.fanout"
    /// One range of followers of a fan-out.
    package static let feedDeliver = "feed.deliver"
    /// A post is deleted: out of the feeds. ``PostEffect``.
    package static let feedRetract = "feed.retract"
    /// A follow has reached the followed's shard: the author's recent posts into one feed.
    package static let feedBackfill = "feed.backfill"
    /// A follow has ended: the author's posts out of one feed.
    package static let feedCleanUp = "feed.cleanup"
    /// A following row changed: its mirror on the followed's shard.
    package static let graphEdge = "graph.edge"
    /// A block row changed: its mirror on the blocked's shard, and the end of their follow.
    package static let graphBlock = "graph.block"
    /// A like changed: the actor's own list. ``FavouriteEffect``.
    package static let postsFavourite = "posts.favourite"
    /// A post was attached to a parent on another shard. ``ReplyEffect``.
    package static let postsReply = "posts.reply"
    /// A post has taken media: they are no longer anybody's draft. ``MediaAttachedEffect``.
    package static let mediaAttached = "media.attached"
    /// A post with media is deleted: their public names end. ``MediaAttachedEffect``.
    package static let mediaDetached = "media.detached"

    /// An account was deleted: its posts and likes. ``UserEffect``, as of the next two.
    package static let postsAuthorGone = "posts.author_gone"
    /// An account was deleted: whom it follows, and who follows it.
    package static let graphUserGone = "graph.user_gone"
    /// An account was deleted: the pictures of its profile.
    package static let mediaOwnerGone = "media.owner_gone"
}

/// Payload of the effects of a deleted account.
package struct UserEffect: Sendable, Equatable, JSONEncodable {
    package var user: UserID

    package init(user: UserID) {
        self.user = user
    }

    package init?(_ json: JSONValue) {
        guard let user = json["user"]?.string.flatMap({ UserID($0) }) else { return nil }
        self.init(user: user)
    }

    package func write(to json: inout JSONWriter) {
        json.object { $0.field("user", user.description) }
    }
}

/// Payload of `feed.fanout` and `feed.retract`.
package struct PostEffect: Sendable, Equatable, JSONEncodable {
    package var post: PostID
    package var author: UserID

    package init(post: PostID, author: UserID) {
        self.post = post
        self.author = author
    }

    package init?(_ json: JSONValue) {
        guard let post = json["post"]?.string.flatMap({ PostID($0) }),
            let author = json["author"]?.string.flatMap({ UserID($0) })
        else { return nil }
        self.init(post: post, author: author)
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("post", post.description)
            json.field("author", author.description)
        }
    }
}

/// Payload of `feed.backfill` and `feed.cleanup`: whose feed, and whose posts.
package struct FollowEffect: Sendable, Equatable, JSONEncodable {
    package var reader: UserID
    package var author: UserID

    package init(reader: UserID, author: UserID) {
        self.reader = reader
        self.author = author
    }

    package init?(_ json: JSONValue) {
        guard let reader = json["reader"]?.string.flatMap({ UserID($0) }),
            let author = json["author"]?.string.flatMap({ UserID($0) })
        else { return nil }
        self.init(reader: reader, author: author)
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("reader", reader.description)
            json.field("author", author.description)
        }
    }
}

/// Payload of `posts.favourite`: whose like of which post changed; what it is now is read beside the post.
package struct FavouriteEffect: Sendable, Equatable, JSONEncodable {
    package var actor: UserID
    package var post: PostID

    package init(actor: UserID, post: PostID) {
        self.actor = actor
        self.post = post
    }

    package init?(_ json: JSONValue) {
        guard let actor = json["actor"]?.string.flatMap({ UserID($0) }),
            let post = json["post"]?.string.flatMap({ PostID($0) })
        else { return nil }
        self.init(actor: actor, post: post)
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("actor", actor.description)
            json.field("post", post.description)
        }
    }
}

/// Payload of `posts.reply`: a comment exists, or has been deleted, under a parent elsewhere.
package struct ReplyEffect: Sendable, Equatable, JSONEncodable {
    package var parent: PostID
    package var reply: PostID
    package var author: UserID
    /// Whether everybody may see it, so that it shows in the parent's count.
    package var isCounted: Bool
    package var active: Bool

    package init(parent: PostID, reply: PostID, author: UserID, isCounted: Bool, active: Bool) {
        self.parent = parent
        self.reply = reply
        self.author = author
        self.isCounted = isCounted
        self.active = active
    }

    package init?(_ json: JSONValue) {
        guard let parent = json["parent"]?.string.flatMap({ PostID($0) }),
            let reply = json["reply"]?.string.flatMap({ PostID($0) }),
            let author = json["author"]?.string.flatMap({ UserID($0) }),
            let isCounted = json["counted"]?.bool, let active = json["active"]?.bool
        else { return nil }
        self.init(
            parent: parent,
            reply: reply,
            author: author,
            isCounted: isCounted,
            active: active
        )
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("parent", parent.description)
            json.field("reply", reply.description)
            json.field("author", author.description)
            json.field("counted", isCounted)
            json.field("active", active)
        }
    }
}

/// Payload of `media.attached` and `media.detached`.
package struct MediaAttachedEffect: Sendable, Equatable, JSONEncodable {
    package var post: PostID
    package var media: [MediaID]

    package init(post: PostID, media: [MediaID]) {
        self.post = post
        self.media = media
    }

    package init?(_ json: JSONValue) {
        guard let post = json["post"]?.string.flatMap({ PostID($0) }),
            let ids = json["media"]?.array
        else { return nil }
        let media = ids.compactMap { $0.string.flatMap { MediaID($0) } }
        guard media.count == ids.count else { return nil }
        self.init(post: post, media: media)
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("post", post.description)
            json.field("media", media.map(\.description))
        }
    }
}

/// What is counted; the subject is the id of a post or of a user.
package enum CounterKind: Int16, Sendable, CaseIterable {
    case likes = 1
    case replies = 2
    case reblogs = 3
    /// As clients tell; nothing else knows them, so they are never recounted.
    case views = 4
    case followers = 10
    case following = 11
    case statuses = 12
}
