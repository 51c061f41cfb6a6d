import Contracts
import ServiceKit
import Sharding

/// What a client wants posted, checked as far as the input alone allows.
struct PostDraft: Sendable {
    /// Characters of text and warning together; links count as ``charactersPerURL``.
    static let characterLimit = 500
    static let charactersPerURL = 23
    static let mediaLimit = 10
    /// Longer texts are not even counted.
    static let byteLimit = 10_000

    var text: String
    var rich: RichText
    var spoilerText: String
    var sensitive: Bool
    var language: String?
    var media: [MediaID]
    var hidesLikes: Bool

    init(_ input: Input, keeping old: Post? = nil) throws(ServiceError) {
        text = try Self.text(input.string("status") ?? (input.has("status") ? "" : old?.text ?? ""))
        spoilerText = try Self.text(input.string("spoiler_text") ?? old?.spoilerText ?? "")
        sensitive = input.bool("sensitive") ?? old?.sensitive ?? false
        language = Self.language(input.string("language")) ?? old?.language
        rich = RichText(text)
        hidesLikes = input.bool("hide_likes") ?? old?.hidesLikes ?? false
        media = input.has("media_ids") ? try Self.media(input) : old?.media ?? []
        for name in ["poll", "scheduled_at", "quoted_status_id"] where Self.isAsked(input[name]) {
            throw .invalid("\(name) is not supported by this server")
        }
        try checkLength()
        guard !text.isEmpty || !media.isEmpty else { throw .invalid("Text can't be blank") }
    }

    private func checkLength() throws(ServiceError) {
        let length =
            rich.length(charactersPerURL: Self.charactersPerURL)
            + spoilerText.count
        guard length <= Self.characterLimit else {
            throw .invalid("Text character limit of \(Self.characterLimit) exceeded")
        }
        guard media.count <= Self.mediaLimit else {
            throw .invalid("Cannot attach more than \(Self.mediaLimit) files")
        }
        guard Set(media).count == media.count else {
            throw .invalid("The same photo is attached twice")
        }
    }

    /// A poll, a date or a quote that was sent with a value; clients send empty ones with every post.
    private static func isAsked(_ value: Input.Value?) -> Bool {
        switch value {
        case nil, .null, .text(""), .list([]): false
        case .object(let members): !members.isEmpty
        default: true
        }
    }

    /// PostgreSQL holds no NUL; nobody means one.
    private static func text(_ text: String) throws(ServiceError) -> String {
        guard text.utf8.count <= byteLimit else {
            throw .invalid("Text character limit of \(characterLimit) exceeded")
        }
        var scalars = String.UnicodeScalarView()
        scalars.append(contentsOf: text.unicodeScalars.filter { $0.value != 0 })
        while let last = scalars.last, last.properties.isWhitespace { scalars.removeLast() }
        return String(scalars)
    }

    private static func media(_ input: Input) throws(ServiceError) -> [MediaID] {
        var ids: [MediaID] = []
        for text in input.strings("media_ids") where !text.isEmpty {
            guard let id = MediaID(text) else { throw .invalid("\(text) is no media id") }
            ids.append(id)
        }
        return ids
    }

    /// A language code such as `en` or `pt-BR`; anything else says nothing.
    static func language(_ text: String?) -> String? {
        guard let text, (2...16).contains(text.utf8.count),
            text.utf8.allSatisfy({ byte in
                UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte | 0x20 || byte == UInt8(ascii: "-")
            })
        else { return nil }
        return text
    }
}

/// What an edit or a post says about its photos: descriptions and focal points by id.
struct MediaChange: Sendable {
    var id: MediaID
    var description: String?
    var focus: MediaAttachmentEntity.Focus?

    static func all(in input: Input) throws(ServiceError) -> [MediaChange] {
        var changes: [MediaChange] = []
        for object in input.objects("media_attributes") {
            guard let id = object.string("id").flatMap({ MediaID($0) }) else {
                throw .invalid("media_attributes needs an id")
            }
            changes.append(
                MediaChange(
                    id: id,
                    description: object.string("description"),
                    focus: focus(object.string("focus"))
                )
            )
        }
        return changes
    }

    private static func focus(_ text: String?) -> MediaAttachmentEntity.Focus? {
        let parts = (text ?? "").split(separator: ",").compactMap { Double($0) }
        guard parts.count == 2, parts.allSatisfy({ (-1.0...1.0).contains($0) }) else { return nil }
        return MediaAttachmentEntity.Focus(x: parts[0], y: parts[1])
    }
}
