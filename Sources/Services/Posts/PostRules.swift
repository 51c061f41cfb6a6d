import Contracts

/// The rules for the posts of one answer; they themselves are ``VisibilityRules``, the same for every service.
struct PostRules: Sendable {
    let rules: VisibilityRules

    var viewer: UserID? { rules.viewer }

    func allow(_ post: Post, of author: OwnerState, by way: VisibilityRules.Way) -> Bool {
        rules.allow(post.facts(for: viewer), of: author, by: way)
    }

    func showsLikes(of post: Post) -> Bool {
        rules.allowLikes(of: post.author, hidden: post.hidesLikes)
    }
}

/// A post that the viewer may see, with its author's account as the viewer may see it.
struct SeenPost: Sendable {
    var fragment: PostFragment
    let account: AccountEntity
    let showsLikes: Bool

    var post: Post { fragment.post }
}
