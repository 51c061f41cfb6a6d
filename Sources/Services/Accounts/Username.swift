internal import Normalizing

/// A name that stands for one user: 1 to 30 ASCII letters, digits and underscores, dots between them.
package struct Username: Sendable, Hashable {
    package static let limit = 30

    /// As its owner wrote it, after NFKC.
    package let text: String
    /// What names are compared by.
    package let folded: String

    package enum Refusal: Error, Sendable, Equatable {
        case blank
        case tooLong
        case malformed
        case reserved
    }

    /// Checks a name for a new account.
    package init(claiming input: String) throws(Refusal) {
        let name = try Username(reading: input)
        guard !Self.reserved.contains(name.folded.filter { $0 != "." && $0 != "_" }) else {
            throw .reserved
        }
        self = name
    }

    /// Reads a name that may exist, reserved ones included.
    package init(reading input: String) throws(Refusal) {
        guard let text = NameFolding.compatible(input), let folded = NameFolding.folded(input)
        else {
            throw .malformed
        }
        guard !text.isEmpty else { throw .blank }
        guard text.utf8.count <= Self.limit else { throw .tooLong }
        guard Self.isWellFormed(text), Self.isWellFormed(folded) else { throw .malformed }
        self.text = text
        self.folded = folded
    }

    private static func isWellFormed(_ text: String) -> Bool {
        guard text.first != ".", text.last != ".", !text.contains("..") else { return false }
        return text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."):
                true
            default: false
            }
        }
    }

    /// Names that would be taken for the service itself; compared without dots and underscores.
    private static let reserved: Set<String> = [
        "", "about", "abuse", "account", "accounts", "admin", "administrator", "anonymous", "api",
        "auth", "billing", "bot", "contact", "everyone", "explore", "feed", "help", "here", "home",
        "hostmaster", "info", "instance", "login", "logout", "mail", "media", "me", "moderator",
        "mod", "news", "noreply", "notifications", "null", "oauth", "official",
        "postmaster", "privacy", "reels", "root", "search", "security", "service", "settings",
        "share", "signin", "signup", "staff", "status", "stories", "support", "sysadmin", "system",
        "terms", "tessera", "undefined", "user", "username", "users", "webmaster", "www",
    ]
}

/// An address for mail, checked for its shape only: mail to it is what proves it.
package struct EmailAddress: Sendable, Hashable {
    package static let limitBytes = 254

    package let text: String
    package let folded: String

    /// Reads `local@domain`; nil for what no mail could be sent to.
    package init?(_ input: String) {
        guard input.utf8.count <= Self.limitBytes, let folded = NameFolding.folded(input),
            let text = NameFolding.compatible(input), folded.utf8.count <= Self.limitBytes
        else { return nil }
        let parts = folded.split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count == 2, (1...64).contains(parts[0].utf8.count),
            Self.isDomain(parts[1]), parts[0].unicodeScalars.allSatisfy(Self.isPlain)
        else { return nil }
        self.text = text
        self.folded = folded
    }

    private static func isDomain(_ domain: Substring) -> Bool {
        let labels = domain.split(separator: ".", omittingEmptySubsequences: false)
        return labels.allSatisfy { label in
            (1...63).contains(label.utf8.count) && label.first != "-" && label.last != "-"
                && label.allSatisfy { $0.isLetter || $0.isNumber || $0 == "-" }
        }
    }

    private static func isPlain(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value > 0x20 && scalar.value != 0x7F && !scalar.properties.isWhitespace
            && !"\"(),:;<>[]\\".unicodeScalars.contains(scalar)
    }
}
