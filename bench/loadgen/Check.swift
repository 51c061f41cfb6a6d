/// What was acknowledged: the state that every home timeline is computed from.
struct Acknowledged: Sendable {
    /// For each user, whom they follow now.
    var following: [Set<Int>]
    /// For each user, their posts that were not deleted, as ids of the server.
    var posts: [[Int64]]

    init(users: Int) {
        following = Array(repeating: [], count: users)
        posts = Array(repeating: [], count: users)
    }

    /// The newest posts of the user and of everyone they follow, newest first.
    func home(of user: Int, bound: Int) -> [Int64] {
        var ids = posts[user]
        for author in following[user] { ids += posts[author] }
        return Array(ids.sorted(by: >).prefix(bound))
    }
}

/// How far one home timeline is from the answer.
struct Verdict: Sendable, Equatable {
    var lost = 0
    var doubled = 0
    var misordered = 0
    var unexpected = 0

    var isRight: Bool { self == Verdict() }

    init() {}

    /// Compares a timeline as it was read, page after page, with the answer.
    init(read: [Int64], answer: [Int64]) {
        let seen = Set(read)
        let wanted = Set(answer)
        lost = wanted.subtracting(seen).count
        doubled = read.count - seen.count
        unexpected = seen.subtracting(wanted).count
        misordered = zip(read, read.dropFirst()).count { $0 < $1 }
    }

    static func += (left: inout Verdict, right: Verdict) {
        left.lost += right.lost
        left.doubled += right.doubled
        left.misordered += right.misordered
        left.unexpected += right.unexpected
    }
}
