import Contracts

/// What a client can listen to, by the names of Mastodon's API.
enum StreamName: Hashable, Sendable {
    /// All that concerns the user: home timeline and notifications.
    case user
    case notifications
    /// Every public post; with media only, if so.
    case `public`(onlyMedia: Bool, isLocal: Bool)
    /// Public posts with a hashtag.
    case hashtag(String, isLocal: Bool)

    /// Nil for a stream that there is not; a hashtag stream needs its tag.
    init?(_ name: String, tag: String?) {
        switch name {
        case "user": self = .user
        case "user:notification": self = .notifications
        // There is no other server: local and all are the same posts under two names.
        case "public": self = .public(onlyMedia: false, isLocal: false)
        case "public:local": self = .public(onlyMedia: false, isLocal: true)
        case "public:media": self = .public(onlyMedia: true, isLocal: false)
        case "public:local:media": self = .public(onlyMedia: true, isLocal: true)
        case "hashtag", "hashtag:local":
            guard let tag = tag?.lowercased(), (1...Self.tagBytes).contains(tag.utf8.count)
            else { return nil }
            self = .hashtag(tag, isLocal: name == "hashtag:local")
        default: return nil
        }
    }

    private static let tagBytes = 200

    /// As a message says which stream it is of.
    var parts: [String] {
        switch self {
        case .user: ["user"]
        case .notifications: ["user:notification"]
        case .public(let onlyMedia, let isLocal):
            ["public" + (isLocal ? ":local" : "") + (onlyMedia ? ":media" : "")]
        case .hashtag(let tag, let isLocal): [isLocal ? "hashtag:local" : "hashtag", tag]
        }
    }

    /// Whether it is one of a user's own events, which are numbered and can be resumed.
    var isPersonal: Bool { self == .user || self == .notifications }

    var scope: String { self == .notifications ? "read:notifications" : "read:statuses" }

    /// Whether a public post belongs to it.
    func has(_ status: StatusEntity) -> Bool {
        switch self {
        case .user, .notifications: false
        case .public(let onlyMedia, _): !onlyMedia || !status.attachments.isEmpty
        case .hashtag(let tag, _): status.tags.contains { $0.name == tag }
        }
    }
}
