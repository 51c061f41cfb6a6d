import Sharding

/// Who may see what: the one answer for every way that leads to it.
///
/// A pure value: what it decides depends on what it is given and on nothing else. Every read path asks it (feeds,
/// lists, single posts, comments, search, likers, account pages, notifications, streams); statements may leave out
/// beforehand what it would refuse, so that pages can be filled, but they never decide that something is shown.
package struct VisibilityRules: Sendable {
    /// The way on which a viewer comes to a post: some ways leave out what others show.
    package enum Way: Sendable, CaseIterable {
        /// By its address, or through a list that the viewer made: likes, bookmarks.
        case address
        /// The author's own page.
        case profile
        /// The viewer's home timeline.
        case home
        /// What stands around another post.
        case conversation
        /// Public timelines, hashtags, search: where strangers are shown.
        case discovery

        /// Whether a mute hides the author there.
        var respectsMutes: Bool { self == .home || self == .conversation || self == .discovery }

        /// Whether a limited author shows there to followers alone.
        var leavesOutLimited: Bool { self == .conversation || self == .discovery }
    }

    /// Nil for whoever is not logged in.
    package let viewer: UserID?
    package let standing: ViewerStanding
    private let recent: (any RecentWithdrawals)?

    /// `recent` overrules what caches and mirrors still say.
    package init(
        viewer: UserID?,
        standing: ViewerStanding = ViewerStanding(),
        recent: (any RecentWithdrawals)? = nil
    ) {
        self.viewer = viewer
        self.standing = standing
        self.recent = recent
    }

    // MARK: Posts

    /// Whether the viewer may see a post, or a comment, of an author in this state.
    ///
    /// A comment also needs that the post which it belongs to may be seen; the caller asks for both.
    package func allow(_ post: PostFacts, of author: OwnerState, by way: Way) -> Bool {
        if author.isSuspended || recent?.isGone(post.id, by: post.author) == true { return false }
        if let viewer, viewer == post.author { return true }
        if areBlocked(post.author) { return false }
        if post.isHeld && (viewer == nil || post.host != viewer) { return false }
        let follows = standing.followed.contains(post.author)
        if way.respectsMutes && standing.muted.contains(post.author) { return false }
        if way.leavesOutLimited && author.isLimited && !follows { return false }
        if way == .discovery && post.visibility != .public { return false }
        if post.mentionsViewer { return true }
        switch post.visibility {
        case .public, .unlisted:
            return !isPrivate(post.author, author) || follows || isAddressed(by: post)
        case .private: return follows
        case .closeFriends: return standing.closeFriendOf.contains(post.author)
        case .direct: return false
        }
    }

    /// Whether it comments on what is the viewer's.
    private func isAddressed(by post: PostFacts) -> Bool {
        viewer != nil && (post.answers == viewer || post.host == viewer)
    }

    /// The audiences of which an author's own page has posts for the viewer; direct ones stand on no page of others.
    package func audiences(of author: UserID, _ state: OwnerState) -> Set<Visibility> {
        if viewer == author { return Set(Visibility.allCases) }
        guard allowPosts(of: author, state) else { return [] }
        var audiences: Set<Visibility> = [.public, .unlisted]
        if standing.followed.contains(author) { audiences.insert(.private) }
        if standing.closeFriendOf.contains(author) { audiences.insert(.closeFriends) }
        return audiences
    }

    /// Whether the viewer may know at all that the account posts: its list, its count, the day of its last post.
    package func allowPosts(of author: UserID, _ state: OwnerState) -> Bool {
        guard allowAccount(author, state) else { return false }
        if viewer == author { return true }
        if areBlocked(author) { return false }
        return !isPrivate(author, state) || standing.followed.contains(author)
    }

    /// Whether the viewer may see who likes a post, and how many do.
    package func allowLikes(of author: UserID, hidden: Bool) -> Bool {
        !hidden || viewer == author
    }

    // MARK: Accounts

    /// Whether the account is there for the viewer. Whoever blocks can still find whom they block, not the reverse.
    package func allowAccount(_ id: UserID, _ state: OwnerState) -> Bool {
        if state.isSuspended || recent?.isGone(nil, by: id) == true { return false }
        guard let viewer, viewer != id else { return true }
        if standing.blockedBy.contains(id) { return false }
        // The log does not say who of the two blocks; the viewer's own shard does.
        return standing.blocking.contains(id) || recent?.areBlocked(viewer, id) != true
    }

    /// Whether the account may be shown to the viewer who does not ask for it by name.
    package func allowDiscovery(of id: UserID, _ state: OwnerState) -> Bool {
        guard allowAccount(id, state), !standing.muted.contains(id) else { return false }
        return !state.isLimited || viewer == id || standing.followed.contains(id)
    }

    /// Whether the viewer may see whom the account follows, and who follows it.
    package func allowConnections(of id: UserID, _ state: OwnerState) -> Bool {
        guard allowAccount(id, state) else { return false }
        if viewer == id { return true }
        return !state.hidesConnections && allowPosts(of: id, state)
    }

    // MARK: Notifications

    /// Whether the viewer is told of what the account has done.
    ///
    /// Of what a restricted account does nobody is told, and of what a limited one does only those who follow it.
    package func allowNotification(from actor: UserID, _ state: OwnerState) -> Bool {
        guard allowAccount(actor, state), !areBlocked(actor) else { return false }
        if standing.mutedNotifications.contains(actor) || standing.restricted.contains(actor) {
            return false
        }
        return !state.isLimited || viewer == actor || standing.followed.contains(actor)
    }

    // MARK: Parts

    private func areBlocked(_ other: UserID) -> Bool {
        guard let viewer, viewer != other else { return false }
        return standing.blocked.contains(other) || recent?.areBlocked(viewer, other) == true
    }

    private func isPrivate(_ id: UserID, _ state: OwnerState) -> Bool {
        state.isPrivate || recent?.isPrivate(id) == true
    }
}

/// What of a post decides who may see it.
package struct PostFacts: Sendable, Equatable {
    package var id: PostID
    package var author: UserID
    package var visibility: Visibility
    package var mentionsViewer: Bool
    /// Whom it answers, if it is a comment.
    package var answers: UserID?
    /// Whose the post is that it belongs to, if it is a comment.
    package var host: UserID?
    /// Whether it waits for the host's approval.
    package var isHeld: Bool

    package init(
        id: PostID,
        author: UserID,
        visibility: Visibility,
        mentionsViewer: Bool = false,
        answers: UserID? = nil,
        host: UserID? = nil,
        isHeld: Bool = false
    ) {
        self.id = id
        self.author = author
        self.visibility = visibility
        self.mentionsViewer = mentionsViewer
        self.answers = answers
        self.host = host
        self.isHeld = isHeld
    }
}

/// What of an account decides who may see it and what it posts.
package struct OwnerState: Sendable, Equatable {
    /// Open posts are for followers, who ask to be let in.
    package var isPrivate: Bool
    /// Shown where strangers are shown to its followers only.
    package var isLimited: Bool
    /// Not there, for anybody.
    package var isSuspended: Bool
    package var hidesConnections: Bool

    package init(
        isPrivate: Bool = false,
        isLimited: Bool = false,
        isSuspended: Bool = false,
        hidesConnections: Bool = false
    ) {
        self.isPrivate = isPrivate
        self.isLimited = isLimited
        self.isSuspended = isSuspended
        self.hidesConnections = hidesConnections
    }
}

/// What a viewer has to do with some others, as rows say it.
package struct ViewerStanding: Sendable, Equatable {
    package var followed: Set<UserID> = []
    /// Whom the viewer has asked to be let in.
    package var requested: Set<UserID> = []
    /// Between whom and the viewer a block stands, from either side.
    package var blocked: Set<UserID> = []
    package var blocking: Set<UserID> = []
    package var blockedBy: Set<UserID> = []
    package var muted: Set<UserID> = []
    /// Those of the muted whose notifications are hidden, too.
    package var mutedNotifications: Set<UserID> = []
    /// Whom the viewer restricts.
    package var restricted: Set<UserID> = []
    /// Those of the followed whose reblogs the viewer does not want.
    package var withoutReblogs: Set<UserID> = []
    /// Who counts the viewer among their close friends. Only they know: it is asked for by
    /// ``GraphClient/closeFriendships(of:among:)`` where a post is for close friends.
    package var closeFriendOf: Set<UserID> = []

    package init(
        followed: Set<UserID> = [],
        blocking: Set<UserID> = [],
        blockedBy: Set<UserID> = []
    ) {
        self.followed = followed
        self.blocking = blocking
        self.blockedBy = blockedBy
        blocked = blocking.union(blockedBy)
    }
}

/// What was withdrawn a moment ago, on any shard, whatever a cache or a mirror still says.
package protocol RecentWithdrawals: Sendable {
    /// Whether the post, or everything of its author, is gone.
    func isGone(_ post: PostID?, by author: UserID) -> Bool
    func areBlocked(_ one: UserID, _ other: UserID) -> Bool
    /// Whether the account has gone private.
    func isPrivate(_ account: UserID) -> Bool
}
