import Contracts
import JSON
import Postgres
import Sharding

/// A post or a comment, as its row says.
struct Post: Sendable, Equatable {
    struct Mention: Sendable, Equatable {
        var user: UserID
        /// As the user was called when the post was written, in lower case.
        var username: String
    }

    var id: PostID
    var author: UserID
    var text: String
    var spoilerText = ""
    var sensitive = false
    var language: String?
    var visibility: Visibility
    var media: [MediaID] = []
    var mentions: [Mention] = []
    var inReplyTo: PostID?
    var inReplyToAuthor: UserID?
    /// The post at the top of the conversation; nil on posts, and on comments of before it was kept.
    var root: PostID?
    var rootAuthor: UserID?
    var application: StatusEntity.Client?
    var createdAt: Timestamp
    var editedAt: Timestamp?
    var isPinned = false
    /// Whether it is a comment that waits for the approval of the post's owner.
    var isHeld = false
    /// Whether nobody but the author sees who likes it.
    var hidesLikes = false

    /// Whether it belongs into the feeds of followers: comments and direct posts do not.
    var isFannedOut: Bool { inReplyTo == nil && visibility != .direct }

    /// Whether it shows in counts that everybody sees.
    var isCounted: Bool { visibility.isOpen && !isHeld }

    /// The post without which it is not seen.
    var top: PostID? { root ?? inReplyTo }

    /// Whose that post is.
    var host: UserID? { rootAuthor ?? inReplyToAuthor }

    /// What decides whether the viewer may see it.
    func facts(for viewer: UserID?) -> PostFacts {
        PostFacts(
            id: id,
            author: author,
            visibility: visibility,
            mentionsViewer: viewer.map { viewer in mentions.contains { $0.user == viewer } }
                ?? false,
            answers: inReplyToAuthor,
            host: host,
            isHeld: isHeld
        )
    }
}

/// Exact counts of one post.
struct PostCounts: Sendable, Equatable {
    var favourites = 0
    var replies = 0
    var reblogs = 0
}

extension Visibility {
    /// As the row keeps it.
    var code: Int16 {
        switch self {
        case .public: 0
        case .unlisted: 1
        case .private: 2
        case .direct, .closeFriends: 3
        }
    }

    init(code: Int16, closeFriends: Bool) throws(DatabaseError) {
        switch code {
        case 3 where closeFriends: self = .closeFriends
        case 0: self = .public
        case 1: self = .unlisted
        case 2: self = .private
        case 3: self = .direct
        default: throw .decoding("visibility \(code)")
        }
    }
}

/// A post with its counts, as one row of a query.
struct CountedPost: Sendable, Equatable, RowDecodable {
    var post: Post
    var counts: PostCounts

    init(post: Post, counts: PostCounts = PostCounts()) {
        self.post = post
        self.counts = counts
    }

    /// The columns of ``PostStore/columns`` in their order.
    init(row: inout Row) throws(DatabaseError) {
        let id: PostID = try row.next()
        let author: UserID = try row.next()
        let text: String = try row.next()
        let spoilerText: String = try row.next()
        let sensitive: Bool = try row.next()
        let language: String? = try row.next()
        let visibility = try Visibility(code: row.next(), closeFriends: row.next())
        let media: [MediaID] = try row.next()
        let mentioned: [UserID] = try row.next()
        let names: [String] = try row.next()
        let parent: PostID? = try row.next()
        let parentAuthor: UserID? = try row.next()
        let root: PostID? = try row.next()
        let rootAuthor: UserID? = try row.next()
        let applicationName: String? = try row.next()
        let applicationWebsite: String? = try row.next()
        post = Post(
            id: id,
            author: author,
            text: text,
            spoilerText: spoilerText,
            sensitive: sensitive,
            language: language,
            visibility: visibility,
            media: media,
            mentions: zip(mentioned, names).map { Post.Mention(user: $0, username: $1) },
            inReplyTo: parent,
            inReplyToAuthor: parentAuthor,
            root: root,
            rootAuthor: rootAuthor,
            application: applicationName.map {
                StatusEntity.Client(name: $0, website: applicationWebsite)
            },
            createdAt: try row.next(),
            editedAt: try row.next(),
            isPinned: try row.next(),
            isHeld: try row.next(),
            hidesLikes: try row.next()
        )
        counts = PostCounts(
            favourites: try row.next(),
            replies: try row.next(),
            reblogs: try row.next()
        )
    }
}
