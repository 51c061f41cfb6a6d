import Contracts
import JSON
import Memcache
import Sharding

/// Makes a page of posts whose authors are known: one multi-get for posts and authors, then whatever is missing, and
/// the marks that are not known, from each shard in one pipeline.
struct Hydration: Sendable {
    let directory: PostDirectory
    let rules: PostRules
    let way: VisibilityRules.Way
    let marks: ViewerMarks

    /// Posts that are gone, or may not be seen, are left out.
    func callAsFunction(_ posts: [PostReference]) async throws -> [PostID: StatusEntity] {
        precondition(posts.count <= PostDirectory.batchLimit, "too many posts at once")
        guard !posts.isEmpty else { return [:] }
        let fragments = FragmentKeys(posts, accounts: directory.accounts)
        var marks: ViewerMarks?
        let source = directory.cache.source(of: posts.map(\.id), for: rules.viewer)
        let values = try await source.fill(
            fragments.all,
            ttl: fragments.lifetime(of:)
        ) { missing in
            async let rows = directory.load(missing.compactMap { fragments.posts[$0] })
            async let accounts = directory.accounts.fragments(
                of: missing.compactMap { fragments.authors[$0] }
            )
            if marks == nil { marks = try await known(on: posts) }
            var loaded: [CacheKey: [UInt8]] = [:]
            for (id, fragment) in try await rows { loaded[PostCache.key(id)] = fragment.jsonBytes }
            for (id, bytes) in try await accounts { loaded[fragments.key(of: id)] = bytes }
            return loaded
        }
        if marks == nil { marks = try await known(on: posts) }
        return try await entities(of: fragments, values, marks?.known ?? [:])
    }

    private func known(on posts: [PostReference]) async throws -> ViewerMarks {
        guard let viewer = rules.viewer else { return ViewerMarks() }
        return try await directory.marks.complete(marks, on: posts.map(\.id), by: viewer)
    }

    private func entities(
        of fragments: FragmentKeys,
        _ values: [CacheKey: [UInt8]],
        _ marks: [PostID: ViewerMarks.Mark]
    ) async throws -> [PostID: StatusEntity] {
        var accounts: [UserID: AccountEntity] = [:]
        for (key, id) in fragments.authors {
            accounts[id] = values[key].flatMap { directory.accounts.account(fragment: $0) }
        }
        var entities: [PostID: StatusEntity] = [:]
        // What another version has written, comments, and what is for close friends come by the long way.
        var others: [PostID] = []
        var reblogs: [PostFragment] = []
        for (key, id) in fragments.posts {
            guard let bytes = values[key] else { continue }
            guard let fragment = directory.cache.read(bytes), fragment.post.inReplyTo == nil,
                fragment.post.visibility != .closeFriends
            else {
                others.append(id)
                continue
            }
            guard let account = accounts[fragment.post.author],
                rules.allow(fragment.post, of: account.state, by: way)
            else { continue }
            if fragment.post.reblogOf != nil {
                reblogs.append(fragment)
                continue
            }
            entities[id] = directory.rendering.entity(
                fragment,
                account: account.concealed(by: rules.rules),
                showsLikes: rules.showsLikes(of: fragment.post),
                viewer: rules.viewer.map { directory.state(of: fragment.post, for: $0, marks[id]) }
            )
        }
        entities = try await directory.withVotes(entities, of: rules.viewer)
        // What is passed on may be anybody's: it goes the way of posts of which nothing is known.
        let wanted = try await wanted(reblogs)
        let originals = try await directory.originals(of: wanted, viewer: rules.viewer, by: way)
        for reblog in wanted.map(\.post) {
            guard let account = accounts[reblog.author] else { continue }
            entities[reblog.id] = reblog.reblogOf.flatMap { originals[$0.id] }.map {
                directory.rendering.reblog(
                    reblog,
                    account: account.concealed(by: rules.rules),
                    of: $0
                )
            }
        }
        guard !others.isEmpty else { return entities }
        let rest = try await directory.statuses(others, viewer: rules.viewer, by: way)
        return entities.merging(rest) { first, _ in first }
    }
}

extension Hydration {
    /// Without reblogs by those whose reblogs the reader does not want in the home timeline.
    private func wanted(_ reblogs: [PostFragment]) async throws -> [PostFragment] {
        guard way == .home, let viewer = rules.viewer else { return reblogs }
        let actors = Set(reblogs.map(\.post.author)).filter { $0 != viewer }.sorted()
        guard !actors.isEmpty else { return reblogs }
        let standing = try await directory.graph.standing(of: viewer, to: actors)
        return reblogs.filter { !standing.withoutReblogs.contains($0.post.author) }
    }
}

/// The fragments of a page by their names in the cache.
private struct FragmentKeys: Sendable {
    let posts: [CacheKey: PostID]
    let authors: [CacheKey: UserID]
    private let names: [UserID: CacheKey]
    private let accountLifetime: Duration

    init(_ references: [PostReference], accounts: any AccountsClient) {
        posts = Dictionary(references.map { (PostCache.key($0.id), $0.id) }) { first, _ in first }
        var names: [UserID: CacheKey] = [:]
        for author in Set(references.map(\.author)) {
            names[author] = CacheKey(.object, accounts.fragmentName(of: author))
        }
        self.names = names
        authors = Dictionary(uniqueKeysWithValues: names.map { ($1, $0) })
        accountLifetime = accounts.fragmentLifetime
    }

    var all: [CacheKey] { Array(posts.keys) + Array(authors.keys) }

    func key(of author: UserID) -> CacheKey { names[author]! }

    func lifetime(of key: CacheKey) -> Duration {
        posts[key] == nil ? accountLifetime : PostCache.lifetime
    }
}
