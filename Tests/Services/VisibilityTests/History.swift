import Accounts
import Contracts
import HTTP
import JSON
import Sharding
import Simulation

/// A random history, done to the real services and to the reference side by side.
struct History {
    let world: VisibilityWorld
    var society: Society
    var random: SeededGenerator
    private(set) var order: [PostID] = []

    init(_ world: VisibilityWorld, seed: UInt64) {
        self.world = world
        society = Society(people: world.users.count)
        random = SeededGenerator(seed: seed)
    }

    private mutating func number(_ range: Range<Int>) -> Int {
        Int.random(in: range, using: &random)
    }

    private mutating func chance(_ percent: Int) -> Bool { number(0..<100) < percent }

    private var count: Int { society.people.count }

    /// Does so many things, with effects running in between now and then; afterwards all is at rest.
    mutating func run(steps: Int) async throws {
        for _ in 0..<steps {
            try await step()
            if chance(30) { try await world.runEffects(&random) }
        }
        try await world.runEffects(&random)
    }

    private mutating func step() async throws {
        let user = number(0..<count), target = number(0..<count)
        guard !society.people[user].isSuspended else {
            if chance(50) { try await restrain(user, .none) }
            return
        }
        switch number(0..<100) {
        case 0..<14 where user != target: try await follow(target, by: user)
        case 14..<18 where user != target:
            try await post(user, "accounts/\(id(target))/unfollow")
            society.part(user, from: target)
        case 18..<24 where user != target: try await answer(user, target)
        case 24..<26 where user != target:
            try await post(target, "accounts/\(id(user))/remove_from_followers")
            society.people[user].follows.remove(target)
        case 26..<30 where user != target:
            try await post(user, "accounts/\(id(target))/block")
            society.block(target, by: user)
        case 30..<33 where user != target:
            try await post(user, "accounts/\(id(target))/unblock")
            society.people[user].blocks.remove(target)
        case 33..<36 where user != target: try await mute(target, by: user)
        case 36..<42 where user != target: try await list(target, by: user)
        case 42..<47: try await set(user)
        case 47..<50: try await restrain(user, [.none, .limited, .suspended][number(0..<3)])
        case 50..<64: try await publish(user, under: nil)
        case 64..<78: if let parent = somePost() { try await publish(user, under: parent) }
        case 78..<82: if let post = somePost() { try await delete(post) }
        case 82..<92: if let post = somePost() { try await mark(post, by: user) }
        case 92..<95: try await approve(user)
        case 95..<97: _ = try await world.ask(.get, "/api/v1/timelines/home", as: user)
        default: break
        }
    }

    private mutating func somePost() -> PostID? {
        order.isEmpty ? nil : order[number(0..<order.count)]
    }

    private func id(_ user: Int) -> UserID { world.users[user] }

    @discardableResult
    private func post(
        _ user: Int,
        _ path: String,
        _ method: Method = .post,
        in api: String = "/api/v1/"
    ) async throws -> VisibilityWorld.Answer {
        try await world.ask(method, api + path, as: user)
    }

    // MARK: People

    private mutating func follow(_ target: Int, by user: Int) async throws {
        let answer = try await post(user, "accounts/\(id(target))/follow")
        society.follow(target, by: user)
        let person = society.people[user]
        let stands =
            !society.people[target].isSuspended
            && (person.follows.contains(target) || person.asks.contains(target))
        // Whom one blocks one is told that one may not follow; who blocks one is not there, nor is who is suspended.
        guard (answer.status == 200) == stands else {
            throw Disagreement("\(user) follows \(target): \(answer.status)")
        }
    }

    private mutating func answer(_ target: Int, _ user: Int) async throws {
        // What the followed decides is what their own shard has heard of.
        try await world.runEffects(&random)
        let accepts = chance(75)
        try await post(
            target,
            "follow_requests/\(id(user))/\(accepts ? "authorize" : "reject")"
        )
        society.answer(user, by: target, accepts: accepts)
        try await world.runEffects(&random)
    }

    private mutating func mute(_ target: Int, by user: Int) async throws {
        let mutes = chance(60)
        let answer = try await post(user, "accounts/\(id(target))/\(mutes ? "mute" : "unmute")")
        guard answer.status == 200 else { return }
        if mutes {
            society.people[user].mutes.insert(target)
        } else {
            society.people[user].mutes.remove(target)
        }
    }

    private mutating func list(_ target: Int, by user: Int) async throws {
        let adds = chance(75), friends = chance(50)
        let answer = try await post(
            user,
            "\(friends ? "close_friends" : "restricted")/\(id(target))",
            adds ? .put : .delete,
            in: "/api/tessera/v1/"
        )
        guard answer.status == 200 else { return }
        var list = friends ? society.people[user].closeFriends : society.people[user].restricts
        if adds { list.insert(target) } else { list.remove(target) }
        if friends {
            society.people[user].closeFriends = list
        } else {
            society.people[user].restricts = list
        }
    }

    private mutating func set(_ user: Int) async throws {
        let isPrivate = chance(50), hides = chance(30)
        _ = try await world.ask(
            .patch,
            "/api/v1/accounts/update_credentials?locked=\(isPrivate)&hide_collections=\(hides)",
            as: user
        )
        society.people[user].isPrivate = isPrivate
        society.people[user].hidesConnections = hides
    }

    private mutating func restrain(_ user: Int, _ restraint: Restraint) async throws {
        try await world.restrain(user, restraint)
        society.people[user].isLimited = restraint == .limited
        society.people[user].isSuspended = restraint == .suspended
    }

    // MARK: Posts

    private mutating func publish(_ author: Int, under parent: PostID?) async throws {
        let visibility = Visibility.allCases[number(0..<Visibility.allCases.count)]
        let mentioned = chance(25) ? number(0..<count) : nil
        let hidesLikes = chance(20)
        let mention = mentioned.map { "%20%40\(VisibilityWorld.name($0))" } ?? ""
        var query = "status=words\(mention)&visibility=\(visibility.rawValue)"
        query += "&hide_likes=\(hidesLikes)"
        if let parent { query += "&in_reply_to_id=\(parent)" }
        let answer = try await world.ask(.post, "/api/v1/statuses?\(query)", as: author)
        let maySee = parent.map { society.sees(author, $0, at: .address) } ?? true
        guard (answer.status == 200) == maySee else {
            throw Disagreement("\(author) answers \(parent!): \(answer.status)")
        }
        guard maySee, let id = answer.json?["id"]?.string.flatMap({ PostID($0) }) else { return }
        society.posts[id] = Society.Entry(
            author: author,
            visibility: visibility,
            mentions: mentioned.map { [$0] } ?? [],
            parent: parent,
            isHeld: parent.map { society.mustWait(author, under: $0) } ?? false,
            hidesLikes: hidesLikes,
            isCounted: visibility.isOpen && !society.people[author].isPrivate
        )
        order.append(id)
    }

    private mutating func delete(_ post: PostID) async throws {
        let author = society.posts[post]!.author
        guard !society.people[author].isSuspended else { return }
        _ = try await world.ask(.delete, "/api/v1/statuses/\(post)", as: author)
        society.posts[post]!.isDeleted = true
    }

    private mutating func mark(_ id: PostID, by user: Int) async throws {
        let likes = chance(60)
        let answer = try await post(user, "statuses/\(id)/\(likes ? "favourite" : "bookmark")")
        let maySee = society.sees(user, id, at: .address)
        guard (answer.status == 200) == maySee else {
            throw Disagreement("\(user) marks \(id): \(answer.status)")
        }
        guard maySee else { return }
        if likes {
            society.posts[id]!.likes.insert(user)
        } else {
            society.posts[id]!.bookmarks.insert(user)
        }
    }

    private mutating func approve(_ host: Int) async throws {
        try await world.runEffects(&random)
        let waiting = society.posts.filter { id, post in
            post.isHeld && !post.isDeleted && society.posts[society.top(of: id)]!.author == host
        }
        .keys.sorted()
        guard !waiting.isEmpty else { return }
        let comment = waiting[number(0..<waiting.count)]
        let answer = try await post(
            host,
            "held_comments/\(comment)/approve",
            in: "/api/tessera/v1/"
        )
        guard answer.status == 200 else {
            throw Disagreement("\(host) lets \(comment) through: \(answer.status)")
        }
        society.posts[comment]!.isHeld = false
        society.posts[comment]!.isCounted = society.posts[comment]!.visibility.isOpen
        try await world.runEffects(&random)
    }
}

/// The services and the reference say different things.
struct Disagreement: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
