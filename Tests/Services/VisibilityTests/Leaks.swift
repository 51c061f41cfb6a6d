import Contracts
import Sharding

/// The ways that lead to something, each of which could forget to ask.
enum Path: String, CaseIterable, Sendable {
    case status, statuses, context, history, profile, home, favourites, bookmarks, likers
    case account, accounts, lookup, accountSearch, postSearch, followers, following
}

/// Which leak is open at the moment; a test opens one at a time.
final class OpenLeak: @unchecked Sendable {
    // @unchecked: touched on the world's loop only.
    var isOpen = false
}

/// Graph as it would be to somebody who forgot to look: everybody is a friend, and nobody is blocked.
struct LeakyGraph: GraphClient {
    let real: any GraphClient
    let leak: OpenLeak

    func relationships(
        of viewer: UserID,
        to ids: [UserID]
    ) async throws -> [RelationshipEntity] {
        try await real.relationships(of: viewer, to: ids)
    }

    func followed(by user: UserID, among targets: [UserID]) async throws -> Set<UserID> {
        try await real.followed(by: user, among: targets)
    }

    func standing(of viewer: UserID, to others: [UserID]) async throws -> ViewerStanding {
        if leak.isOpen { return ViewerStanding(followed: Set(others)) }
        return try await real.standing(of: viewer, to: others)
    }

    func closeFriendships(
        of viewer: UserID,
        among authors: [UserID]
    ) async throws -> Set<UserID> {
        if leak.isOpen { return Set(authors) }
        return try await real.closeFriendships(of: viewer, among: authors)
    }

    func restricts(_ user: UserID, _ other: UserID) async throws -> Bool {
        try await real.restricts(user, other)
    }
}

/// Accounts to somebody who forgot their state.
struct LeakyAccounts: AccountsClient {
    let real: any AccountsClient
    let leak: OpenLeak

    private func forgetful(_ account: AccountEntity) -> AccountEntity {
        guard leak.isOpen else { return account }
        var open = account
        open.locked = false
        open.hideCollections = false
        open.suspended = false
        return open
    }

    func accounts(_ ids: [UserID]) async throws -> [UserID: AccountEntity] {
        try await real.accounts(ids).mapValues(forgetful)
    }

    func fragmentName(of id: UserID) -> String { real.fragmentName(of: id) }
    var fragmentLifetime: Duration { real.fragmentLifetime }

    func fragments(of ids: [UserID]) async throws -> [UserID: [UInt8]] {
        try await real.fragments(of: ids)
    }

    func account(fragment: [UInt8]) -> AccountEntity? {
        real.account(fragment: fragment).map(forgetful)
    }

    func find(usernames: [String]) async throws -> [String: UserID] {
        try await real.find(usernames: usernames)
    }

    func search(
        _ query: String,
        limit: Int,
        viewer: UserID?
    ) async throws -> [AccountEntity] {
        try await real.search(query, limit: limit, viewer: viewer)
    }
}

/// Posts as the author sees them, for somebody else's home timeline.
struct LeakyPosts: PostsClient {
    let real: any PostsClient
    let leak: OpenLeak

    func statuses(
        _ ids: [PostID],
        viewer: UserID?,
        by way: VisibilityRules.Way
    ) async throws -> [PostID: StatusEntity] {
        try await real.statuses(ids, viewer: viewer, by: way)
    }

    func homeStatuses(
        _ posts: [PostReference],
        viewer: UserID,
        marks: ViewerMarks
    ) async throws -> [PostID: StatusEntity] {
        guard leak.isOpen else {
            return try await real.homeStatuses(posts, viewer: viewer, marks: marks)
        }
        var found: [PostID: StatusEntity] = [:]
        for post in posts {
            found.merge(try await real.statuses([post.id], viewer: post.author)) { $1 }
        }
        return found
    }

    func homeMarks(of viewer: UserID, in window: FeedWindow) async throws -> ViewerMarks {
        try await real.homeMarks(of: viewer, in: window)
    }

    func recentPosts(of authors: [UserID], in window: FeedWindow) async throws -> [PostReference] {
        try await real.recentPosts(of: authors, in: window)
    }

    func recentCount(of authors: [UserID], from id: Int64, limit: Int) async throws -> Int {
        try await real.recentCount(of: authors, from: id, limit: limit)
    }

    func taggedPosts(for reader: UserID, in window: FeedWindow) async throws -> [PostReference] {
        try await real.taggedPosts(for: reader, in: window)
    }
}
