import Contracts
import ServiceKit
import Sharding

/// Whether somebody may comment, beyond seeing what they comment on: the author of the post at the top says.
struct CommentRules: Sendable {
    let directory: PostDirectory

    func check(_ parent: Post, by user: UserID) async throws {
        let top = try await top(of: parent)
        guard top.author != user else { return }
        switch top.details.comments {
        case .everybody: return
        case .followers:
            let followed = try await directory.graph.followed(by: user, among: [top.author])
            guard followed.contains(top.author) else { throw Self.refusal }
        case .nobody: throw Self.refusal
        }
    }

    /// The post that a comment belongs to; the parent itself where it is gone.
    func top(of parent: Post) async throws -> Post {
        guard let id = parent.top else { return parent }
        return try await directory.fragments([id])[id]?.post ?? parent
    }

    private static let refusal = ServiceError(.forbidden, "This post takes no comment of yours")
}
