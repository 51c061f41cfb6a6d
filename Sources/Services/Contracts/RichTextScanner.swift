/// Splits typed text into the pieces of a ``RichText``.
///
/// One pass over the scalars; nothing is looked at more often than the length of a word allows.
struct RichTextScanner {
    private let scalars: [Unicode.Scalar]
    private var index = 0
    private var plain = String.UnicodeScalarView()
    private var pieces: [RichText.Piece] = []

    init(_ text: String) {
        var scalars = Array(text.unicodeScalars)
        while let last = scalars.last, last.properties.isWhitespace { scalars.removeLast() }
        let start = scalars.firstIndex { !$0.properties.isWhitespace } ?? scalars.count
        // Line ends of any platform count as one line feed; other control characters fall away.
        self.scalars = scalars[start...].enumerated().compactMap { offset, scalar in
            if scalar == "\r" {
                return offset + start + 1 < scalars.count && scalars[offset + start + 1] == "\n"
                    ? nil : "\n"
            }
            if scalar == "\n" || scalar == "\t" { return scalar }
            return scalar.properties.generalCategory == .control ? nil : scalar
        }
    }

    mutating func scan() -> [RichText.Piece] {
        while index < scalars.count {
            switch scalars[index] {
            case "\n": lineEnd()
            case "@": marked(by: mentionEnd) { .mention($0) }
            case "#": marked(by: hashtagEnd) { .hashtag($0) }
            case "h", "H": link()
            default: takePlain()
            }
        }
        flush()
        return pieces
    }

    private mutating func takePlain() {
        plain.append(scalars[index])
        index += 1
    }

    private mutating func flush() {
        guard !plain.isEmpty else { return }
        pieces.append(.text(String(plain)))
        plain = String.UnicodeScalarView()
    }

    private mutating func lineEnd() {
        flush()
        let start = index
        while index < scalars.count, scalars[index] == "\n" { index += 1 }
        pieces.append(index - start > 1 ? .paragraphBreak : .lineBreak)
    }

    /// Whether a mark at `index` begins a word: `a@b` and `a#b` are neither mention nor tag.
    private var atWordStart: Bool {
        guard index > 0 else { return true }
        let before = scalars[index - 1]
        return !Self.isWord(before) && before != "/" && before != "@" && before != "#"
            && before != "&"
    }

    private mutating func marked(
        by end: (Int) -> Int?,
        _ piece: (String) -> RichText.Piece
    ) {
        guard atWordStart, let end = end(index + 1) else { return takePlain() }
        flush()
        pieces.append(piece(text(index + 1, end)))
        index = end
    }

    /// Names that may be usernames, as long as usernames may be.
    private func mentionEnd(_ start: Int) -> Int? {
        var end = start
        while end < scalars.count, Self.isName(scalars[end]), end - start <= 30 { end += 1 }
        // "@name." ends a sentence, and a name that goes on elsewhere is a foreign account.
        guard end > start, end - start <= 30 else { return nil }
        if end < scalars.count, scalars[end] == "@" || Self.isWord(scalars[end]) { return nil }
        return end
    }

    private func hashtagEnd(_ start: Int) -> Int? {
        var end = start
        var hasLetter = false
        while end < scalars.count, Self.isWord(scalars[end]), end - start <= 100 {
            hasLetter = hasLetter || !("0"..."9").contains(scalars[end])
            end += 1
        }
        return end > start && end - start <= 100 && hasLetter ? end : nil
    }

    private mutating func link() {
        guard atWordStart, let schemeEnd = schemeEnd() else { return takePlain() }
        var end = schemeEnd
        while end < scalars.count, Self.isInURL(scalars[end]) { end += 1 }
        while end > schemeEnd, Self.endsSentence(scalars[end - 1], of: scalars[index..<end]) {
            end -= 1
        }
        guard end > schemeEnd, Self.isWord(scalars[schemeEnd]) || scalars[schemeEnd] == "[" else {
            return takePlain()
        }
        flush()
        pieces.append(.link(text(index, end)))
        index = end
    }

    private func schemeEnd() -> Int? {
        for scheme in ["https://", "http://"] {
            let end = index + scheme.unicodeScalars.count
            guard end <= scalars.count else { continue }
            if text(index, end).lowercased() == scheme { return end }
        }
        return nil
    }

    private func text(_ start: Int, _ end: Int) -> String {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars[start..<end])
        return String(view)
    }

    private static func isName(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "a"..."z", "A"..."Z", "0"..."9", "_": true
        default: false
        }
    }

    private static func isWord(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.isASCII { return isName(scalar) }
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter,
            .nonspacingMark, .spacingMark, .decimalNumber, .letterNumber:
            return true
        default: return false
        }
    }

    private static func isInURL(_ scalar: Unicode.Scalar) -> Bool {
        if !scalar.isASCII { return isWord(scalar) }
        switch scalar {
        case " ", "\t", "\n", "\"", "<", ">", "\\", "^", "`", "{", "|", "}": return false
        default: return true
        }
    }

    private static func endsSentence(
        _ scalar: Unicode.Scalar,
        of url: ArraySlice<Unicode.Scalar>
    ) -> Bool {
        switch scalar {
        case ".", ",", ":", ";", "!", "?", "'", "*", "~": true
        // A closing bracket belongs to the address only where it was opened there.
        case ")": url.count { $0 == "(" } < url.count { $0 == ")" }
        case "]": url.count { $0 == "[" } < url.count { $0 == "]" }
        default: false
        }
    }
}
