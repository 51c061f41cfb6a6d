import Contracts
import ServiceKit
import Sharding

/// What a post answers, and what answers it.
struct Conversation: Sendable {
    /// How far up and down a conversation is followed.
    static let ancestorLimit = 40
    static let depthLimit = 20
    /// How many answers are shown together, and of one post.
    static let descendantLimit = 200
    static let repliesPerPost = 100

    let directory: PostDirectory
    let replies: ReplyStore

    func context(of id: PostID, viewer: UserID?) async throws -> ContextEntity {
        guard let post = try await directory.fragment(id, viewer: viewer) else {
            throw ServiceError.notFound
        }
        async let up = ancestors(of: post.post, viewer: viewer)
        async let down = descendants(of: id, viewer: viewer)
        let (ancestors, descendants) = try await (up, down)
        let entities = try await directory.statuses(
            ancestors + descendants,
            viewer: viewer,
            by: .conversation
        )
        return ContextEntity(
            ancestors: ancestors.compactMap { entities[$0] },
            descendants: descendants.compactMap { entities[$0] }
        )
    }

    /// From the top down; a parent that is gone or hidden ends the way up.
    private func ancestors(of post: Post, viewer: UserID?) async throws -> [PostID] {
        var path: [PostID] = []
        var next = post.inReplyTo
        while let id = next, path.count < Self.ancestorLimit, !path.contains(id),
            let parent = try await directory.fragment(id, viewer: viewer, by: .conversation)
        {
            path.append(id)
            next = parent.post.inReplyTo
        }
        return path.reversed()
    }

    /// Level by level, then in the order of a walk: an answer stands under what it answers.
    private func descendants(of root: PostID, viewer: UserID?) async throws -> [PostID] {
        var children: [PostID: [PostID]] = [:]
        var seen: Set<PostID> = [root]
        var level = [root]
        var depth = 0
        while !level.isEmpty, depth < Self.depthLimit, seen.count <= Self.descendantLimit {
            let parents = level
            var rows = try await replies.replies(to: parents, limit: Self.repliesPerPost)
            if let viewer {
                async let own = replies.ownReplies(
                    of: viewer,
                    to: parents,
                    limit: Self.repliesPerPost
                )
                async let held = replies.heldReplies(
                    of: viewer,
                    to: parents,
                    limit: Self.repliesPerPost
                )
                rows += try await own + held
            }
            level = []
            for row in rows.sorted(by: { $0.reply < $1.reply })
            where seen.count <= Self.descendantLimit && seen.insert(row.reply).inserted {
                children[row.parent, default: []].append(row.reply)
                level.append(row.reply)
            }
            depth += 1
        }
        return walk(from: root, children)
    }

    private func walk(from root: PostID, _ children: [PostID: [PostID]]) -> [PostID] {
        var order: [PostID] = []
        var stack = Array((children[root] ?? []).reversed())
        while let id = stack.popLast() {
            order.append(id)
            stack += (children[id] ?? []).reversed()
        }
        return order
    }
}
