internal import Memcache

/// The names of rendered pages in the cache, and of the stamps that they depend on.
///
/// A user's *stamp* is a random number which is deleted when the user does anything: a page that was rendered under
/// another stamp is not served. So one deletion drops the pages of one user that any number of viewers have.
package enum PageKey: Hashable, Sendable {
    /// The first page of a user's home timeline.
    case home(Int64)
    /// The first page of an author's list of posts as a viewer sees it; nil for whoever is not logged in.
    case statuses(author: Int64, viewer: Int64?, list: String)

    /// Whose actions it depends on beyond its own deletion.
    var users: [Int64] {
        switch self {
        case .home: []
        case .statuses(let author, let viewer, _):
            viewer.map { $0 == author ? [author] : [author, $0] } ?? [author]
        }
    }

    /// For metrics.
    enum Kind: Int, CaseIterable {
        case home
        case statuses

        var label: String { "\(self)" }
    }

    var kind: Kind {
        switch self {
        case .home: .home
        case .statuses: .statuses
        }
    }

    var cacheKey: CacheKey {
        switch self {
        case .home(let user): CacheKey(.feed, "home:1:\(user)")
        case .statuses(let author, let viewer, let list):
            CacheKey(.feed, "statuses:1:\(author):\(viewer.map(String.init) ?? "-"):\(list)")
        }
    }

    static func stamp(_ user: Int64) -> CacheKey { CacheKey(.feed, "stamp:\(user)") }
}
