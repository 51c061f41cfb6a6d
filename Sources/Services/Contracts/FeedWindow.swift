/// Some neighbouring posts of a home timeline: those between two ids, as many as there may be from one end.
package struct FeedWindow: Sendable, Equatable {
    /// Exclusive bounds.
    package var above: Int64
    package var below: Int64
    /// At most so many of each source.
    package var limit: Int
    /// Whether they are counted from the lower end.
    package var isAscending: Bool

    package init(above: Int64 = 0, below: Int64 = .max, limit: Int, isAscending: Bool = false) {
        self.above = above
        self.below = below
        self.limit = limit
        self.isAscending = isAscending
    }

    /// From which id on posts lie between the top of the timeline and the window's far end; nil where it begins at
    /// the top. How far a timeline goes depends on how many these are.
    package var top: Int64? {
        if isAscending { return above + 1 }
        return below == .max ? nil : below
    }

    /// What of some posts, newest first, belongs into it: those that no source may have more beside.
    package func cut(_ posts: [PostReference]) -> [PostReference] {
        Array(isAscending ? posts.suffix(limit) : posts.prefix(limit))
    }
}
