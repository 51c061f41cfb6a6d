/// Text as people type it, split into what the API shows: words, links, mentions and hashtags.
///
/// Rendering escapes everything that was typed; the only markup in the result is our own.
package struct RichText: Sendable, Equatable {
    package enum Piece: Sendable, Equatable {
        case text(String)
        case lineBreak
        case paragraphBreak
        /// An `http` or `https` address.
        case link(String)
        /// A username without the `@`, as it was typed.
        case mention(String)
        /// A tag without the `#`, as it was typed.
        case hashtag(String)
    }

    /// Which user a mention means; a name that is not here stays plain text.
    package struct Mention: Sendable, Equatable {
        package var username: String
        package var url: String

        package init(username: String, url: String) {
            self.username = username
            self.url = url
        }
    }

    /// How many different users one text may mention, and how many hashtags it may carry.
    package static let mentionLimit = 50
    package static let hashtagLimit = 50

    package let pieces: [Piece]

    package init(_ text: String) {
        var scanner = RichTextScanner(text)
        pieces = scanner.scan()
    }

    /// Names that are mentioned, in lower case, in order, each once.
    package var mentions: [String] {
        unique(limit: Self.mentionLimit) { piece in
            if case .mention(let name) = piece { name.lowercased() } else { nil }
        }
    }

    /// Hashtags, in lower case, in order, each once.
    package var hashtags: [String] {
        unique(limit: Self.hashtagLimit) { piece in
            if case .hashtag(let name) = piece { name.lowercased() } else { nil }
        }
    }

    private func unique(limit: Int, _ name: (Piece) -> String?) -> [String] {
        var seen: Set<String> = []
        return Array(pieces.compactMap(name).filter { seen.insert($0).inserted }.prefix(limit))
    }

    /// Characters as people count them, every link as `charactersPerURL`.
    package func length(charactersPerURL: Int) -> Int {
        pieces.reduce(0) { sum, piece in
            switch piece {
            case .text(let text): sum + text.count
            case .lineBreak: sum + 1
            case .paragraphBreak: sum + 2
            case .link: sum + charactersPerURL
            case .mention(let name), .hashtag(let name): sum + 1 + name.count
            }
        }
    }

    /// The HTML that clients are given as `content` or `note`.
    ///
    /// `mentions` is asked with names in lower case; `tagURL` makes a hashtag's address.
    package func html(
        mentions: [String: Mention] = [:],
        tagURL: (_ tag: String) -> String
    ) -> String {
        guard !pieces.isEmpty else { return "" }
        var html = "<p>"
        for piece in pieces {
            switch piece {
            case .text(let text): html += Self.escape(text)
            case .lineBreak: html += "<br />"
            case .paragraphBreak: html += "</p><p>"
            case .link(let url): html += Self.link(url)
            case .mention(let name):
                if let mention = mentions[name.lowercased()] {
                    html += Self.mention(mention)
                } else {
                    html += "@" + Self.escape(name)
                }
            case .hashtag(let name):
                html +=
                    "<a href=\"\(Self.escape(tagURL(name.lowercased())))\" class=\"mention hashtag\""
                    + " rel=\"tag\">#<span>\(Self.escape(name))</span></a>"
            }
        }
        return html + "</p>"
    }

    private static func mention(_ mention: Mention) -> String {
        "<span class=\"h-card\" translate=\"no\"><a href=\"\(escape(mention.url))\""
            + " class=\"u-url mention\">@<span>\(escape(mention.username))</span></a></span>"
    }

    /// Shown in full up to this many characters, then with an ellipsis.
    private static let shownLinkCharacters = 30

    private static func link(_ url: String) -> String {
        let scheme = url.lowercased().hasPrefix("https://") ? 8 : 7
        let rest = url.dropFirst(scheme)
        let shown = rest.prefix(shownLinkCharacters)
        let hidden = rest.dropFirst(shownLinkCharacters)
        return "<a href=\"\(escape(url))\" target=\"_blank\" rel=\"nofollow noopener noreferrer\">"
            + "<span class=\"invisible\">\(escape(String(url.prefix(scheme))))</span>"
            + "<span class=\"\(hidden.isEmpty ? "" : "ellipsis")\">\(escape(String(shown)))</span>"
            + "<span class=\"invisible\">\(escape(String(hidden)))</span></a>"
    }

    /// Text that cannot end an element or an attribute.
    package static func escape(_ text: String) -> String {
        guard text.utf8.contains(where: isSpecial) else { return text }
        var escaped: [UInt8] = []
        escaped.reserveCapacity(text.utf8.count + 16)
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "&"): escaped.append(contentsOf: "&amp;".utf8)
            case UInt8(ascii: "<"): escaped.append(contentsOf: "&lt;".utf8)
            case UInt8(ascii: ">"): escaped.append(contentsOf: "&gt;".utf8)
            case UInt8(ascii: "\""): escaped.append(contentsOf: "&quot;".utf8)
            case UInt8(ascii: "'"): escaped.append(contentsOf: "&#39;".utf8)
            default: escaped.append(byte)
            }
        }
        return String(decoding: escaped, as: UTF8.self)
    }

    private static func isSpecial(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "&"), UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "\""),
            UInt8(ascii: "'"):
            true
        default: false
        }
    }
}
