/// Who may see a post.
package enum Visibility: String, Sendable, CaseIterable {
    /// Everybody, and it is listed.
    case `public`
    /// Everybody who knows where it is.
    case unlisted
    /// The author's followers.
    case `private`
    /// The users whom it mentions.
    case direct

    /// Whether someone who is not logged in may see it.
    package var isOpen: Bool { self == .public || self == .unlisted }
}
