/// What a token allows, as OAuth scopes: `read`, `write:statuses`, …
package struct Scopes: Sendable, Equatable, CustomStringConvertible {
    /// How many scopes one token may name.
    package static let limit = 64

    /// In the order given, without repeats.
    package let names: [String]

    package init(names: [String]) {
        var seen: Set<String> = []
        self.names = names.filter { seen.insert($0).inserted }
    }

    /// Reads scopes separated by spaces; nil where one of them is none that we know.
    package init?(parsing text: String) {
        let names = text.split(separator: " ").map(String.init)
        guard names.count <= Self.limit, names.allSatisfy(Self.isKnown) else { return nil }
        self.init(names: names)
    }

    package var description: String { names.joined(separator: " ") }

    /// Whether these scopes contain `wanted`, by itself or as part of a wider one.
    package func covers(_ wanted: String) -> Bool {
        if names.contains(wanted) { return true }
        guard let colon = wanted.firstIndex(of: ":") else { return false }
        if names.contains(String(wanted[..<colon])) { return true }
        return names.contains("follow") && Self.followScopes.contains(wanted)
    }

    /// Whether each of the other scopes is covered by these: what a token may ask of its application.
    package func covers(_ others: Scopes) -> Bool {
        others.names.allSatisfy(covers)
    }

    private static let followScopes: Set<String> = [
        "read:blocks", "read:follows", "read:mutes",
        "write:blocks", "write:follows", "write:mutes",
    ]

    private static let parts: Set<String> = [
        "accounts", "blocks", "bookmarks", "conversations", "favourites", "filters", "follows",
        "lists", "media", "mutes", "notifications", "reports", "search", "statuses",
    ]

    private static func isKnown(_ name: String) -> Bool {
        let pieces = name.split(separator: ":", omittingEmptySubsequences: false)
        return switch pieces.first {
        case "read", "write":
            pieces.count == 1 || pieces.count == 2 && parts.contains(String(pieces[1]))
        case "follow", "push", "profile": pieces.count == 1
        case "admin":
            pieces.count >= 2 && pieces.count <= 3 && (pieces[1] == "read" || pieces[1] == "write")
        default: false
        }
    }
}
