import Sharding

/// What other services ask of Accounts.
package protocol AccountsClient: Sendable {
    /// The accounts that exist among these, batched per shard and cached.
    func accounts(_ ids: [UserID]) async throws -> [UserID: AccountEntity]

    /// Under which name the object pool keeps what pages show of an account, and for how long.
    func fragmentName(of id: UserID) -> String
    var fragmentLifetime: Duration { get }

    /// What is kept there, from the shards; for whoever fills a page's fragments all at once.
    func fragments(of ids: [UserID]) async throws -> [UserID: [UInt8]]

    /// The account of a fragment; nil for what another version has put there.
    func account(fragment: [UInt8]) -> AccountEntity?

    /// The users behind usernames, compared without case; names that nobody has are left out.
    func find(usernames: [String]) async throws -> [String: UserID]

    /// Accounts whose username begins with or equals the query and whom the viewer may be shown, best first.
    func search(_ query: String, limit: Int, viewer: UserID?) async throws -> [AccountEntity]
}

extension AccountsClient {
    package func account(_ id: UserID) async throws -> AccountEntity? {
        try await accounts([id])[id]
    }

    package func find(username: String) async throws -> UserID? {
        try await find(usernames: [username]).values.first
    }
}

/// What other services ask of Posts.
package protocol PostsClient: Sendable {
    /// The posts among these that exist, are not deleted and may be seen by the viewer who comes to them that way.
    ///
    /// Hydrated batched per shard, with the viewer's own marks.
    func statuses(
        _ ids: [PostID],
        viewer: UserID?,
        by way: VisibilityRules.Way
    ) async throws -> [PostID: StatusEntity]

    /// The same for posts of a viewer's own home timeline: their authors are known, followed and not hidden.
    ///
    /// One round trip to each cache node, one pipeline to each shard; `marks` are not asked for again.
    func homeStatuses(
        _ posts: [PostReference],
        viewer: UserID,
        marks: ViewerMarks
    ) async throws -> [PostID: StatusEntity]

    /// What the viewer's own shard knows of their marks on some posts of their home timeline.
    ///
    /// Asked beside the timeline itself, so that both travel together.
    func homeMarks(of viewer: UserID, in window: FeedWindow) async throws -> ViewerMarks

    /// The authors' posts that belong into a home feed, newest first, as many together as the window takes.
    ///
    /// Batched per shard, one statement each: posts that are not deleted, not `direct`, no comments, the same for which
    /// `feed.fanout` is enqueued.
    func recentPosts(of authors: [UserID], in window: FeedWindow) async throws -> [PostReference]

    /// How many such posts the authors have from an id on; counted up to `limit`.
    func recentCount(of authors: [UserID], from id: Int64, limit: Int) async throws -> Int

    /// The public posts with hashtags that the reader follows, newest first, as many together as the window takes.
    ///
    /// Their authors are anybody: they are shown by ``statuses(_:viewer:)``, which asks the rules.
    func taggedPosts(for reader: UserID, in window: FeedWindow) async throws -> [PostReference]
}

extension PostsClient {
    /// The authors' newest posts with `id < before` and `id > after`, at most `limit` together.
    package func recentPosts(
        of authors: [UserID],
        before: PostID? = nil,
        after: PostID? = nil,
        limit: Int
    ) async throws -> [PostReference] {
        let window = FeedWindow(
            above: after?.rawValue ?? 0,
            below: before?.rawValue ?? .max,
            limit: limit
        )
        return try await recentPosts(of: authors, in: window)
    }

    /// The newest public posts with hashtags that the reader follows, at most `limit` together.
    package func taggedPosts(
        for reader: UserID,
        after: PostID?,
        limit: Int
    ) async throws -> [PostReference] {
        let window = FeedWindow(above: after?.rawValue ?? 0, limit: limit)
        return try await taggedPosts(for: reader, in: window)
    }
}

extension PostsClient {
    /// By their addresses.
    package func statuses(
        _ ids: [PostID],
        viewer: UserID?
    ) async throws -> [PostID: StatusEntity] {
        try await statuses(ids, viewer: viewer, by: .address)
    }
}

/// A viewer's marks on posts, as far as they are known.
package struct ViewerMarks: Sendable {
    package struct Mark: Sendable, Equatable {
        /// Nil where only the post's shard can say.
        package var isLiked: Bool?
        package var isBookmarked: Bool
        package var isReblogged: Bool

        package init(isLiked: Bool?, isBookmarked: Bool, isReblogged: Bool = false) {
            self.isLiked = isLiked
            self.isBookmarked = isBookmarked
            self.isReblogged = isReblogged
        }
    }

    package var known: [PostID: Mark]

    package init(known: [PostID: Mark] = [:]) {
        self.known = known
    }
}

/// Which post, and whose.
package struct PostReference: Sendable, Hashable {
    package var id: PostID
    package var author: UserID

    package init(id: PostID, author: UserID) {
        self.id = id
        self.author = author
    }
}

/// What other services ask of Graph.
package protocol GraphClient: Sendable {
    /// How the viewer stands to each of the users; every id has an answer.
    func relationships(of viewer: UserID, to ids: [UserID]) async throws -> [RelationshipEntity]

    /// Those of `targets` whom the user follows, from the follower's own rows.
    func followed(by user: UserID, among targets: [UserID]) async throws -> Set<UserID>

    /// What of the viewer's own rows decides what of these others they may see.
    func standing(of viewer: UserID, to others: [UserID]) async throws -> ViewerStanding

    /// Which of the authors count the viewer among their close friends, from the authors' rows: true at once.
    func closeFriendships(of viewer: UserID, among authors: [UserID]) async throws -> Set<UserID>

    /// Whether the user restricts another, whose new comments then wait for approval; from the user's own rows.
    func restricts(_ user: UserID, _ other: UserID) async throws -> Bool
}

/// What other services ask of Notifications.
package protocol NotificationsClient: Sendable {
    /// Those of a user's notifications that are still there and that the user may see and wants to.
    func notifications(
        _ ids: [NotificationID],
        of user: UserID
    ) async throws -> [NotificationID: NotificationEntity]
}

/// What other services ask of Media.
package protocol MediaClient: Sendable {
    /// Those media that belong to the owner, are ready, and may be attached to a post.
    ///
    /// They stay for at least an hour more, attached or not.
    func attachable(_ ids: [MediaID], owner: UserID) async throws -> [MediaID:
        MediaAttachmentEntity]

    /// The media among these that exist, of any owner, batched per shard.
    func attachments(_ ids: [MediaID]) async throws -> [MediaID: MediaAttachmentEntity]

    /// The media that these posts show, so that both can be asked for together.
    func attachments(of posts: [PostID]) async throws -> [MediaID: MediaAttachmentEntity]

    /// Changes what an owner says about a photo; nil leaves a value as it is.
    func describe(
        _ id: MediaID,
        owner: UserID,
        description: String?,
        focus: MediaAttachmentEntity.Focus?
    ) async throws
}

/// Where pictures that belong to no post are kept: avatars and headers.
package protocol ImageStore: Sendable {
    /// Checks, strips and stores an uploaded picture; throws a refusal that may be shown.
    func store(_ image: [UInt8], as use: ImageUse, owner: UserID) async throws -> StoredImage
}

/// What a picture is for, which decides its size.
package enum ImageUse: String, Sendable {
    case avatar
    case header
}

/// Public addresses of a stored picture.
package struct StoredImage: Sendable, Equatable {
    package var url: String
    /// The same without motion.
    package var staticURL: String

    package init(url: String, staticURL: String) {
        self.url = url
        self.staticURL = staticURL
    }
}

/// Who asks.
package protocol SessionsClient: Sendable {
    /// What a bearer token stands for; nil where it is forged, expired or revoked.
    func verify(_ token: String) async throws -> Authentication?

    /// The same where it is known at this moment; nil says nothing about the token.
    func held(_ token: String) -> Authentication?

    /// Those of these sessions that are over, from the shards: for whoever keeps a connection open for long.
    func revoked(among sessions: [SessionID]) async throws -> Set<SessionID>
}

extension SessionsClient {
    package func held(_ token: String) -> Authentication? { nil }
}

/// What a valid token says.
package struct Authentication: Sendable, Equatable {
    /// Nil for a token of an application by itself.
    package var user: UserID?
    package var session: SessionID?
    package var application: StatusEntity.Client?
    package var scopes: Scopes

    package init(
        user: UserID?,
        session: SessionID?,
        application: StatusEntity.Client? = nil,
        scopes: Scopes
    ) {
        self.user = user
        self.session = session
        self.application = application
        self.scopes = scopes
    }
}
