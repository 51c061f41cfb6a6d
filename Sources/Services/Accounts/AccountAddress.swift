package import Contracts
internal import Sharding

/// How people write whom they mean: `user`, `@user`, `user@host`, or the address of a page.
package struct AccountAddress: Sendable, Equatable {
    package let username: String
    /// Known where the address carries it.
    package let id: UserID?

    /// Nil for users of other hosts and for addresses of other pages.
    package init?(_ text: String, publicURL: String) {
        let text = text.drop { $0.isWhitespace }
        if text.hasPrefix(publicURL + "/") {
            self.init(path: text.dropFirst(publicURL.count))
            return
        }
        guard !text.contains("/") else { return nil }
        let bare = text.hasPrefix("@") ? text.dropFirst() : text
        let parts = bare.split(separator: "@", omittingEmptySubsequences: false)
        switch parts.count {
        case 1: self.init(username: String(parts[0]).trimmed)
        case 2 where Self.hosts(of: publicURL).contains(parts[1].lowercased().trimmed):
            self.init(username: String(parts[0]))
        default: return nil
        }
    }

    private init?(path: Substring) {
        let parts = path.split(separator: "/").map(String.init)
        switch parts.count {
        case 1 where parts[0].hasPrefix("@"): self.init(username: String(parts[0].dropFirst()))
        case 2 where parts[0] == "users":
            guard let id = UserID(parts[1]) else { return nil }
            self.init(username: "", id: id)
        default: return nil
        }
    }

    private init(username: String, id: UserID? = nil) {
        self.username = username
        self.id = id
    }

    /// The host with its port and without.
    private static func hosts(of publicURL: String) -> [String] {
        let authority = publicURL.split(separator: "/").dropFirst().first.map(String.init) ?? ""
        let host =
            authority.hasSuffix("]")
            ? authority : String(authority.prefix { $0 != ":" })
        return [authority.lowercased(), host.lowercased()]
    }
}

extension String {
    var trimmed: String {
        var text = self[...]
        while let first = text.first, first.isWhitespace { text = text.dropFirst() }
        while let last = text.last, last.isWhitespace { text = text.dropLast() }
        return String(text)
    }
}
