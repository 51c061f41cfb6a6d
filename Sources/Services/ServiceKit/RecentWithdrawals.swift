import Contracts
import Pages

extension WithdrawnFollower: RecentWithdrawals {
    package func isGone(_ post: PostID?, by author: UserID) -> Bool {
        guard let post else { return log.isGone(author: author.rawValue) }
        return log.isGone(post.rawValue, by: author.rawValue)
    }

    package func areBlocked(_ one: UserID, _ other: UserID) -> Bool {
        log.areBlocked(one.rawValue, other.rawValue)
    }

    package func isPrivate(_ account: UserID) -> Bool { log.isPrivate(account.rawValue) }
}
