/// What one simulated user does, in order.
enum Action: Sendable, Equatable {
    case follow(Int)
    case unfollow(Int)
    /// Publishes the user's next post, with a photo.
    case post
    /// Deletes the user's n-th post.
    case delete(post: Int)
    case readHome
}

/// The scripts of all users: follows and posts interleaved, with some taken back.
struct Script: Sendable {
    var actions: [[Action]]
    /// Users who read their home timeline only at the very end.
    var idleReaders: Set<Int>

    var total: Int { actions.reduce(0) { $0 + $1.count } }

    struct Shape: Sendable {
        var postsPerUser = 3
        /// The share of follows that are undone; half of these are followed again.
        var undone = 0.1
        var idleShare = 0.5
        var seed: UInt64 = 1
    }

    init(_ graph: SocialGraph, shape: Shape) {
        var random = SplitMix64(seed: shape.seed)
        idleReaders = Set(
            (0..<graph.users).shuffled(using: &random)
                .prefix(Int(Double(graph.users) * shape.idleShare))
        )
        actions = []
        for user in 0..<graph.users {
            let opening: [Action] = idleReaders.contains(user) ? [] : [.readHome]
            actions.append(
                opening + Script.actions(following: graph.following[user], shape, using: &random)
            )
        }
    }

    /// Draws the order by position on a line of 0 ..< 1, so that each undoing comes after its doing.
    private static func actions(
        following: [Int],
        _ shape: Shape,
        using random: inout SplitMix64
    ) -> [Action] {
        var placed: [(at: Double, Action)] = []
        for target in following {
            let followed = Double.random(in: 0..<1, using: &random)
            placed.append((followed, .follow(target)))
            guard Double.random(in: 0..<1, using: &random) < shape.undone else { continue }
            let unfollowed = Double.random(in: followed..<1, using: &random)
            placed.append((unfollowed, .unfollow(target)))
            guard Bool.random(using: &random) else { continue }
            placed.append((Double.random(in: unfollowed..<1, using: &random), .follow(target)))
        }
        let posts = (0..<shape.postsPerUser).map { _ in Double.random(in: 0..<1, using: &random) }
            .sorted()
        for (index, at) in posts.enumerated() {
            placed.append((at, .post))
            guard Double.random(in: 0..<1, using: &random) < shape.undone else { continue }
            placed.append((Double.random(in: at..<1, using: &random), .delete(post: index)))
        }
        // Stable under equal positions: the earlier placed comes first.
        return placed.enumerated()
            .sorted { ($0.element.at, $0.offset) < ($1.element.at, $1.offset) }
            .map { $0.element.1 }
    }
}
