package import Sharding

/// Where a user was shown posts.
package enum Surface: String, Sendable, CaseIterable {
    case home, profile, tag, search, explore, stories, reels
}

/// One thing that happened between a viewer and some posts, as the log keeps it.
package struct Interaction: Sendable {
    /// Posts of one interaction.
    package static let postsLimit = 200
    /// Characters of a request's id.
    package static let requestLimit = 64

    package enum Kind: Int16, Sendable {
        /// The posts were part of an answer.
        case served = 1
        /// The client says that the viewer looked at the posts.
        case seen = 2
    }

    package var at: Timestamp
    package var kind: Kind
    /// Raw ids: the log stands below the services that know what they are of.
    package var viewer: Int64
    /// The request whose answer it is about; for `seen`, as far as the client knows it.
    package var request: String
    package var surface: Surface
    /// Which version of which ordering put the posts into their places; empty for `seen`.
    package var ordering: String
    package var posts: [Int64]
    /// Of each post within its list, from 0.
    package var positions: [Int16]
    /// For how long each post was looked at; empty for `served`.
    package var milliseconds: [Int32]

    package init(
        at: Timestamp,
        kind: Kind,
        viewer: Int64,
        request: String,
        surface: Surface,
        ordering: String,
        posts: [Int64],
        positions: [Int16],
        milliseconds: [Int32]
    ) {
        self.at = at
        self.kind = kind
        self.viewer = viewer
        self.request = request
        self.surface = surface
        self.ordering = ordering
        self.posts = posts
        self.positions = positions
        self.milliseconds = milliseconds
    }
}
