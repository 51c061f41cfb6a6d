import Contracts
import Sharding

/// The reference: who has done what, and what follows from it for everybody, in the plainest words.
///
/// Written apart from the product and without looking at its rules; only the meaning is the same.
struct Society {
    struct Person {
        var isPrivate = false
        var hidesConnections = false
        var isLimited = false
        var isSuspended = false
        var follows: Set<Int> = []
        var asks: Set<Int> = []
        var blocks: Set<Int> = []
        var mutes: Set<Int> = []
        var restricts: Set<Int> = []
        var closeFriends: Set<Int> = []
    }

    struct Entry {
        var author: Int
        var visibility: Visibility
        var mentions: Set<Int> = []
        /// Its parent, if it is a comment.
        var parent: PostID?
        var isHeld = false
        var isDeleted = false
        var hidesLikes = false
        /// Whether it counts among the answers of its parent.
        var isCounted = false
        var likes: Set<Int> = []
        var bookmarks: Set<Int> = []
    }

    /// Where a post would be shown.
    enum Place { case address, profile, home, conversation }

    var people: [Person]
    var posts: [PostID: Entry] = [:]

    init(people count: Int) { people = Array(repeating: Person(), count: count) }

    // MARK: What people do

    mutating func follow(_ target: Int, by user: Int) {
        guard user != target, !people[target].isSuspended, !isBlocked(user, target),
            !people[user].follows.contains(target)
        else { return }
        if people[target].isPrivate {
            people[user].asks.insert(target)
        } else {
            people[user].asks.remove(target)
            people[user].follows.insert(target)
        }
    }

    mutating func part(_ user: Int, from target: Int) {
        people[user].follows.remove(target)
        people[user].asks.remove(target)
    }

    mutating func answer(_ user: Int, by target: Int, accepts: Bool) {
        guard people[user].asks.contains(target), !accepts || !people[target].blocks.contains(user)
        else { return }
        people[user].asks.remove(target)
        if accepts { people[user].follows.insert(target) }
    }

    mutating func block(_ target: Int, by user: Int) {
        people[user].blocks.insert(target)
        people[user].closeFriends.remove(target)
        part(user, from: target)
        part(target, from: user)
    }

    /// Whether a comment of the author on that post would have to wait.
    func mustWait(_ author: Int, under parent: PostID) -> Bool {
        let host = posts[top(of: parent)]!.author
        return posts[parent]!.isHeld || host != author && people[host].restricts.contains(author)
    }

    // MARK: What may be seen

    func isBlocked(_ one: Int, _ other: Int) -> Bool {
        people[one].blocks.contains(other) || people[other].blocks.contains(one)
    }

    func top(of post: PostID) -> PostID {
        var top = post
        while let parent = posts[top]?.parent { top = parent }
        return top
    }

    func sees(_ viewer: Int?, _ id: PostID, at place: Place) -> Bool {
        guard let post = posts[id], !post.isDeleted else { return false }
        guard mayRead(viewer, id, at: place) else { return false }
        // A comment is seen with its post; after that is deleted the comment stands by itself.
        let top = top(of: id)
        if top == id || viewer == post.author || posts[top]!.isDeleted { return true }
        return mayRead(viewer, top, at: .address)
    }

    private func mayRead(_ viewer: Int?, _ id: PostID, at place: Place) -> Bool {
        let post = posts[id]!
        let author = people[post.author]
        if author.isSuspended { return false }
        guard let viewer else {
            return [.public, .unlisted].contains(post.visibility) && !author.isPrivate
                && !post.isHeld && !(place == .conversation && author.isLimited)
        }
        if viewer == post.author { return true }
        if isBlocked(viewer, post.author) { return false }
        let host = post.parent == nil ? nil : posts[top(of: id)]?.author
        if post.isHeld && host != viewer { return false }
        let follows = people[viewer].follows.contains(post.author)
        if [.home, .conversation].contains(place), people[viewer].mutes.contains(post.author) {
            return false
        }
        if place == .conversation && author.isLimited && !follows { return false }
        if post.mentions.contains(viewer) { return true }
        switch post.visibility {
        case .public, .unlisted:
            return !author.isPrivate || follows || host == viewer
                || post.parent.map { posts[$0]!.author } == viewer
        case .private: return follows
        case .closeFriends: return author.closeFriends.contains(viewer)
        case .direct: return false
        }
    }

    func finds(_ viewer: Int?, _ person: Int) -> Bool {
        if people[person].isSuspended { return false }
        guard let viewer, viewer != person else { return true }
        return !people[person].blocks.contains(viewer)
    }

    func knowsPosts(_ viewer: Int?, of person: Int) -> Bool {
        guard finds(viewer, person) else { return false }
        if viewer == person { return true }
        if let viewer, isBlocked(viewer, person) { return false }
        return !people[person].isPrivate
            || viewer.map { people[$0].follows.contains(person) } ?? false
    }

    func knowsConnections(_ viewer: Int?, of person: Int) -> Bool {
        viewer == person || knowsPosts(viewer, of: person) && !people[person].hidesConnections
    }

    func isShown(_ viewer: Int?, _ person: Int) -> Bool {
        guard finds(viewer, person) else { return false }
        guard let viewer, viewer != person else {
            return viewer == person || !people[person].isLimited
        }
        if people[viewer].mutes.contains(person) { return false }
        return !people[person].isLimited || people[viewer].follows.contains(person)
    }

    // MARK: Lists

    func profile(of author: Int, for viewer: Int?) -> [PostID] {
        let known = knowsPosts(viewer, of: author)
        return posts.filter { id, post in
            guard post.author == author, sees(viewer, id, at: .profile) else { return false }
            if viewer == author { return true }
            guard known else { return false }
            switch post.visibility {
            case .public, .unlisted: return true
            case .private: return viewer.map { people[$0].follows.contains(author) } ?? false
            case .closeFriends:
                return viewer.map { people[author].closeFriends.contains($0) } ?? false
            case .direct: return false
            }
        }
        .keys.sorted(by: >)
    }

    func home(of reader: Int) -> [PostID] {
        posts.filter { id, post in
            guard post.parent == nil, post.visibility != .direct,
                post.author == reader || people[reader].follows.contains(post.author)
            else { return false }
            return sees(reader, id, at: .home)
        }
        .keys.sorted(by: >)
    }

    /// What stands under a post, as far as the viewer comes to it.
    func descendants(of root: PostID, for viewer: Int?) -> Set<PostID> {
        var reached: Set<PostID> = []
        var level = [root]
        while !level.isEmpty {
            level = posts.filter { id, post in
                guard let parent = post.parent, level.contains(parent), !post.isDeleted else {
                    return false
                }
                return !post.isHeld || viewer == post.author || viewer == posts[top(of: id)]!.author
            }
            .map(\.key)
            reached.formUnion(level)
        }
        return reached.filter { sees(viewer, $0, at: .conversation) }
    }

    func ancestors(of post: PostID, for viewer: Int?) -> [PostID] {
        var path: [PostID] = []
        var next = posts[post]!.parent
        while let id = next, sees(viewer, id, at: .conversation) {
            path.append(id)
            next = posts[id]!.parent
        }
        return path.reversed()
    }

    func count(of author: Int) -> Int {
        posts.values.count {
            $0.author == author && !$0.isDeleted && !$0.isHeld
                && [.public, .unlisted].contains($0.visibility)
        }
    }

    func answers(to post: PostID) -> Int {
        posts.values.count { $0.parent == post && !$0.isDeleted && !$0.isHeld && $0.isCounted }
    }
}
