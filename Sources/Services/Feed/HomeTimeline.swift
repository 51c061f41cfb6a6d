package import Contracts
package import ServiceKit

/// The posts of one home timeline, newest first: what was delivered, merged with what is read from authors.
///
/// A pure value with one meaning: the newest ``bound`` posts among the reader's own and those of everyone they
/// follow, whichever way each came here.
package struct HomeTimeline: Sendable, Equatable {
    /// How far back a home timeline goes.
    package static let bound = 800

    /// Entries that a feed may keep beyond the bound before it is trimmed.
    package static let trimSlack = 200

    package let references: [PostReference]

    /// False if posts may be missing at the old end, because the feed was trimmed there and has shrunk since.
    package let isComplete: Bool

    /// Of a part: whether nothing else is in the window.
    package let isExhausted: Bool

    /// `entries` and `merged` are in any order and may overlap; nothing is known of entries at or below
    /// `floor`, so nothing at or below it is shown.
    package init(entries: [PostReference], merged: [PostReference], floor: PostID) {
        let sorted = (entries + merged).filter { $0.id > floor }.sorted { $0.id > $1.id }
        var unique: [PostReference] = []
        unique.reserveCapacity(min(sorted.count, Self.bound))
        for post in sorted where post.id != unique.last?.id {
            unique.append(post)
            if unique.count == Self.bound { break }
        }
        references = unique
        isExhausted = true
        isComplete = unique.count == Self.bound || floor.rawValue == 0
    }

    /// A part of it: what the sources gave for a window, as far as none of them may have more in between.
    package init(
        entries: [PostReference],
        merged: [PostReference],
        floor: PostID,
        in window: FeedWindow
    ) {
        let whole = HomeTimeline(entries: entries, merged: merged, floor: floor)
        references = window.cut(whole.references)
        isExhausted = references.count < window.limit
        isComplete = isExhausted && floor.rawValue == 0
    }

    package var posts: [PostID] { references.map(\.id) }

    /// The page that is asked for, newest first; at most `limit` long.
    package func page(_ request: PageRequest) -> [PostReference] {
        let inside = references.drop { $0.id.rawValue >= request.upper }
            .prefix { $0.id.rawValue > request.lower }
        return Array(
            request.isAscending ? inside.suffix(request.limit) : inside.prefix(request.limit)
        )
    }
}
