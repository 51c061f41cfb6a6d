import Contracts
import Pages
import Sharding

/// Who may see a post: the same answer for every way that leads to it.
struct PostRules: Sendable {
    let viewer: UserID?
    let standing: ViewerStanding
    /// What is known to be gone, whatever a cache or a mirror still says.
    let log: WithdrawnLog?

    func allow(_ post: Post) -> Bool {
        if isGone(post.id, by: post.author) { return false }
        guard let viewer else { return post.visibility.isOpen }
        if post.author == viewer { return true }
        if standing.blocked.contains(post.author)
            || log?.areBlocked(viewer.rawValue, post.author.rawValue) == true
        {
            return false
        }
        if post.visibility.isOpen || post.mentions.contains(where: { $0.user == viewer }) {
            return true
        }
        return post.visibility == .private && standing.followed.contains(post.author)
    }

    private func isGone(_ post: PostID, by author: UserID) -> Bool {
        log?.isGone(post.rawValue, by: author.rawValue) ?? false
    }
}
