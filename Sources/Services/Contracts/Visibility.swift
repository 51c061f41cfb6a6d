/// Whom a post is for.
package enum Visibility: String, Sendable, CaseIterable {
    /// Everybody, and it is listed.
    case `public`
    /// Everybody who knows where it is.
    case unlisted
    /// The author's followers.
    case `private`
    /// The users whom it mentions; nobody else, if it mentions nobody.
    case direct
    /// Those whom the author counts among the close friends. Clients that do not know it see `private`.
    case closeFriends = "close_friends"

    /// Whether it is for everybody, as far as the author is.
    package var isOpen: Bool { self == .public || self == .unlisted }

    /// What Mastodon's clients call it: one of the four that they know.
    package var mastodonName: String {
        self == .closeFriends ? Visibility.private.rawValue : rawValue
    }

    /// What an account may have as its default.
    package static let defaults: [Visibility] = [.public, .unlisted, .private, .direct]
}
