internal import Contracts
package import Jobs
internal import Sharding

/// Ends the follows of a deleted account, on both sides, and the feeds follow.
///
/// Each follow ends where it is true, in the follower's bucket, by the same statement as an unfollow. The list of
/// followers is the mirror, which lags: a run that ended some comes again until the list is empty.
package struct Departure: EffectHandler {
    /// Follows that one run ends, of each side.
    static let runLimit = 200

    private static let pause = Duration.seconds(1)

    /// A mirror that lags for so long lags for ever: its effect was given up, and so is this one.
    private static let patience = Duration.seconds(24 * 3600)

    package let kind = EffectKinds.graphUserGone
    private let store: GraphStore

    package init(store: GraphStore) {
        self.store = store
    }

    package func handle(_ effect: ClaimedEffect) async throws {
        let user = try effect.decode(UserEffect.init).user
        let following = try await some(.following, of: user) + some(.asked, of: user)
        for target in following {
            _ = try await store.unfollow(target, by: user, traceparent: effect.traceparent)
        }
        let followers = try await some(.followers, of: user) + some(.requests, of: user)
        for follower in followers {
            _ = try await store.unfollow(user, by: follower, traceparent: effect.traceparent)
        }
        guard !following.isEmpty || !followers.isEmpty else { return }
        guard effect.createdAt + Self.patience > Timestamp.now else {
            throw EffectError.dead("followers of \(user) are left, whose follows have ended")
        }
        throw EffectError.later(after: Self.pause)
    }

    private func some(_ list: EdgeList, of user: UserID) async throws -> [UserID] {
        try await store.page(
            of: list,
            of: user,
            above: 0,
            below: .max,
            ascending: true,
            limit: Self.runLimit
        ).map(\.user)
    }
}
