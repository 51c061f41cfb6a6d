import Contracts
import HTTP
import JSON
import Sharding

/// Asks every path for every viewer and compares with the reference; each thing that could be shown is a case.
struct Comparison {
    let world: VisibilityWorld
    let society: Society
    private(set) var cases = 0
    private(set) var wrong: [String] = []
    /// Only this path is asked, if one is given.
    var only: Path?

    /// Pages are short, so that cursors are followed.
    private static let pageLimit = 3

    init(_ world: VisibilityWorld, _ society: Society, only: Path? = nil) {
        self.world = world
        self.society = society
        self.only = only
    }

    private var viewers: [Int?] {
        [nil] + society.people.indices.filter { !society.people[$0].isSuspended }
    }

    private var posts: [PostID] { society.posts.keys.sorted() }

    private mutating func check<Value: Equatable>(
        _ path: Path,
        _ viewer: Int?,
        _ what: String,
        _ got: Value,
        _ right: Value,
        cases: Int = 1
    ) {
        self.cases += cases
        guard got != right else { return }
        wrong.append(
            "\(path) for \(viewer.map(String.init) ?? "nobody"), \(what): \(got), not \(right)"
        )
    }

    private func wants(_ path: Path) -> Bool { only == nil || only == path }

    mutating func run() async throws {
        for viewer in viewers {
            try await compareStatuses(viewer)
            try await compareConversations(viewer)
            try await compareLists(viewer)
            try await compareAccounts(viewer)
        }
    }

    // MARK: Posts

    private mutating func compareStatuses(_ viewer: Int?) async throws {
        if wants(.statuses) {
            for start in stride(from: 0, to: posts.count, by: 20) {
                let some = Array(posts[start..<min(start + 20, posts.count)])
                let query = some.map { "id[]=\($0)" }.joined(separator: "&")
                let answer = try await world.ask(.get, "/api/v1/statuses?\(query)", as: viewer)
                let right = some.filter { society.sees(viewer, $0, at: .address) }
                check(.statuses, viewer, "", answer.posts, right, cases: some.count)
                for entity in answer.json?.array ?? [] { checkCounts(entity, viewer) }
            }
        }
        // What is not there, and what may not be seen: one answer for both.
        let unknown = try await world.ask(.get, "/api/v1/statuses/1", as: viewer).refusal
        for post in posts {
            let right = society.sees(viewer, post, at: .address)
            if wants(.status) {
                let answer = try await world.ask(.get, "/api/v1/statuses/\(post)", as: viewer)
                check(.status, viewer, "\(post)", answer.status == 200, right)
                if !right { check(.status, viewer, "\(post)", answer.refusal, unknown) }
            }
            // Every third post is enough for what is decided by the same statement.
            guard post.rawValue / 64 % 3 == 0 else { continue }
            if wants(.history) {
                let answer = try await world.ask(
                    .get,
                    "/api/v1/statuses/\(post)/history",
                    as: viewer
                )
                check(.history, viewer, "\(post)", answer.status == 200, right)
            }
            if wants(.postSearch) {
                let answer = try await world.ask(
                    .get,
                    "/api/v2/search?type=statuses&q=\(post)",
                    as: viewer
                )
                let found = answer.json?["statuses"]?.array?.count ?? -1
                check(.postSearch, viewer, "\(post)", found, right ? 1 : 0)
            }
            if wants(.likers) { try await compareLikers(of: post, viewer, right) }
        }
    }

    private mutating func checkCounts(_ entity: JSONValue, _ viewer: Int?) {
        guard let id = entity["id"]?.string.flatMap({ PostID($0) }), let post = society.posts[id]
        else { return }
        let showsLikes = !post.hidesLikes || viewer == post.author
        let counts = [entity["favourites_count"]?.int ?? -1, entity["replies_count"]?.int ?? -1]
        let right = [showsLikes ? post.likes.count : 0, society.answers(to: id)]
        check(.statuses, viewer, "counts of \(id)", counts, right)
        checkAccount(entity["account"], post.author, viewer, .statuses)
    }

    private mutating func compareLikers(
        of post: PostID,
        _ viewer: Int?,
        _ sees: Bool
    ) async throws {
        let path = "/api/v1/statuses/\(post)/favourited_by"
        let got = try await world.whole(path, as: viewer, limit: 2)
        check(.likers, viewer, "status of \(post)", got.status == 200, sees)
        guard sees, let entry = society.posts[post] else { return }
        let shown = !entry.hidesLikes || viewer == entry.author
        let right = shown ? entry.likes.filter { society.finds(viewer, $0) } : []
        check(
            .likers,
            viewer,
            "\(post)",
            Set(got.ids),
            Set(right.map { world.users[$0].rawValue }),
            cases: max(1, entry.likes.count)
        )
    }

    private mutating func compareConversations(_ viewer: Int?) async throws {
        guard wants(.context) else { return }
        for post in posts
        where society.posts.values.contains(where: { $0.parent == post })
            || society.posts[post]!.parent != nil
        {
            let answer = try await world.ask(
                .get,
                "/api/v1/statuses/\(post)/context",
                as: viewer
            )
            let sees = society.sees(viewer, post, at: .address)
            check(.context, viewer, "status of \(post)", answer.status == 200, sees)
            guard sees else { continue }
            let below = ids(answer, "descendants"), above = ids(answer, "ancestors")
            let right = society.descendants(of: post, for: viewer)
            check(.context, viewer, "below \(post)", Set(below), right, cases: max(1, right.count))
            check(
                .context,
                viewer,
                "above \(post)",
                above,
                society.ancestors(of: post, for: viewer)
            )
        }
    }

    private func ids(_ answer: VisibilityWorld.Answer, _ member: String) -> [PostID] {
        answer.json?[member]?.array?.compactMap { $0["id"]?.string.flatMap { PostID($0) } } ?? []
    }

    // MARK: Lists

    private mutating func compareLists(_ viewer: Int?) async throws {
        for author in society.people.indices where wants(.profile) {
            let path = "/api/v1/accounts/\(world.users[author])/statuses"
            let got = try await world.whole(path, as: viewer, limit: Self.pageLimit)
            check(
                .profile,
                viewer,
                "status of \(author)",
                got.status == 200,
                society.finds(viewer, author)
            )
            guard society.finds(viewer, author) else { continue }
            let right = society.profile(of: author, for: viewer).map(\.rawValue)
            let all = society.posts.values.count { $0.author == author }
            check(.profile, viewer, "posts of \(author)", got.ids, right, cases: max(1, all))
            check(.profile, viewer, "cursors", got.cursors.subtracting(right), [])
        }
        guard let viewer else { return }
        if wants(.home) {
            let got = try await world.whole(
                "/api/v1/timelines/home",
                as: viewer,
                limit: Self.pageLimit
            )
            let right = society.home(of: viewer).map(\.rawValue)
            check(.home, viewer, "", got.ids, right, cases: posts.count)
            check(.home, viewer, "cursors", got.cursors.subtracting(right), [])
        }
        for (path, name, marked) in [
            (Path.favourites, "favourites", \Society.Entry.likes),
            (.bookmarks, "bookmarks", \.bookmarks),
        ] where wants(path) {
            let got = try await world.whole("/api/v1/\(name)", as: viewer, limit: Self.pageLimit)
            let mine = posts.filter { society.posts[$0]![keyPath: marked].contains(viewer) }
            let right = mine.filter { society.sees(viewer, $0, at: .address) }
            check(
                path,
                viewer,
                "",
                got.ids.sorted(),
                right.map(\.rawValue),
                cases: max(1, mine.count)
            )
        }
    }

    // MARK: Accounts

    private mutating func compareAccounts(_ viewer: Int?) async throws {
        let unknown = try await world.ask(.get, "/api/v1/accounts/1", as: viewer).refusal
        if wants(.accounts) {
            let query = world.users.map { "id[]=\($0)" }.joined(separator: "&")
            let answer = try await world.ask(.get, "/api/v1/accounts?\(query)", as: viewer)
            let right = society.people.indices.filter { society.finds(viewer, $0) }
                .map { world.users[$0].rawValue }
            check(.accounts, viewer, "", answer.ids, right, cases: society.people.count)
        }
        if wants(.accountSearch) {
            let path =
                viewer == nil
                ? "/api/v2/search?type=accounts&q=person" : "/api/v1/accounts/search?q=person"
            let answer = try await world.ask(.get, path + "&limit=40", as: viewer)
            let found = answer.json?["accounts"] ?? answer.json
            let ids = found?.array?.compactMap { $0["id"]?.string.flatMap { Int64($0) } } ?? []
            let right = society.people.indices.filter { society.isShown(viewer, $0) }
                .map { world.users[$0].rawValue }
            let known = Set(world.users.map(\.rawValue))
            check(
                .accountSearch,
                viewer,
                "",
                Set(ids).intersection(known),
                Set(right),
                cases: society.people.count
            )
        }
        for person in society.people.indices {
            let id = world.users[person]
            let finds = society.finds(viewer, person)
            if wants(.account) {
                let answer = try await world.ask(.get, "/api/v1/accounts/\(id)", as: viewer)
                check(.account, viewer, "\(person)", answer.status == 200, finds)
                if finds {
                    checkAccount(answer.json, person, viewer, .account)
                } else {
                    check(.account, viewer, "\(person)", answer.refusal, unknown)
                }
            }
            if wants(.lookup) {
                let name = VisibilityWorld.name(person)
                let answer = try await world.ask(
                    .get,
                    "/api/v1/accounts/lookup?acct=\(name)",
                    as: viewer
                )
                check(.lookup, viewer, "\(person)", answer.status == 200, finds)
            }
            try await compareConnections(of: person, viewer, finds)
        }
    }

    private mutating func compareConnections(
        of person: Int,
        _ viewer: Int?,
        _ finds: Bool
    ) async throws {
        let knows = society.knowsConnections(viewer, of: person)
        let people = society.people
        let lists: [(Path, String, [Int])] = [
            (.following, "following", people[person].follows.sorted()),
            (
                .followers, "followers",
                people.indices.filter { people[$0].follows.contains(person) }
            ),
        ]
        for (path, name, all) in lists where wants(path) {
            let target = "/api/v1/accounts/\(world.users[person])/\(name)"
            let got = try await world.whole(target, as: viewer, limit: 2)
            check(path, viewer, "status of \(person)", got.status == 200, finds)
            guard finds else { continue }
            let right = all.filter { knows && society.finds(viewer, $0) }
            check(
                path,
                viewer,
                "\(person)",
                Set(got.ids),
                Set(right.map { world.users[$0].rawValue }),
                cases: max(1, all.count)
            )
        }
    }

    /// A count and a date tell of what may be seen, and of nothing else.
    private mutating func checkAccount(
        _ entity: JSONValue?,
        _ person: Int,
        _ viewer: Int?,
        _ path: Path
    ) {
        let knows = society.knowsPosts(viewer, of: person)
        let right = knows ? society.count(of: person) : 0
        check(path, viewer, "count of \(person)", entity?["statuses_count"]?.int, right)
        check(path, viewer, "day of \(person)", entity?["last_status_at"]?.string != nil, right > 0)
    }
}
