import JSON
import Sharding

/// What a user is told of, by the names that Mastodon's API gives it.
package enum NotificationKind: String, Sendable, CaseIterable {
    case follow
    case followRequest = "follow_request"
    case favourite
    /// Somebody names the recipient in a post, or answers one of theirs.
    case mention
    case reblog
    /// Somebody of whom the recipient wants to hear each time has posted.
    case status
    /// A poll that the recipient made or voted in has ended.
    case poll
    /// A post that the recipient passed on or answered has been edited.
    case update
    /// Somebody marks the recipient on a picture.
    case tag
    case adminReport = "admin.report"
}

/// Payload of `notifications.notify`: something happened that a user should hear of, or no longer holds.
///
/// It is enqueued with the recipient as its owner, in the transaction that writes the cause on the recipient's
/// shard. Recipient, kind, actor and subject name the cause: the same cause notifies once, however often its
/// effect comes. Of several states of one cause the highest version counts, in whichever order they come: give
/// the version of the row that is the cause where it has one, else 1 for its begin and 2 for its end.
package struct NotificationEffect: Sendable, Equatable, JSONEncodable {
    package var recipient: UserID
    package var kind: NotificationKind
    package var actor: UserID
    /// The post that it is about: the liked one, the one that mentions. Nil for follows.
    package var post: PostID?
    /// The report that it is about, for ``NotificationKind/adminReport``.
    package var report: Int64?
    package var version: Int64
    /// False takes the notification back.
    package var active: Bool

    package init(
        recipient: UserID,
        kind: NotificationKind,
        actor: UserID,
        post: PostID? = nil,
        report: Int64? = nil,
        version: Int64 = 1,
        active: Bool = true
    ) {
        self.recipient = recipient
        self.kind = kind
        self.actor = actor
        self.post = post
        self.report = report
        self.version = version
        self.active = active
    }

    package init?(_ json: JSONValue) {
        guard let recipient = json["recipient"]?.string.flatMap({ UserID($0) }),
            let kind = json["kind"]?.string.flatMap({ NotificationKind(rawValue: $0) }),
            let actor = json["actor"]?.string.flatMap({ UserID($0) }),
            let version = json["version"]?.int64, let active = json["active"]?.bool
        else { return nil }
        self.init(
            recipient: recipient,
            kind: kind,
            actor: actor,
            post: json["post"]?.string.flatMap { PostID($0) },
            report: json["report"]?.string.flatMap { Int64($0) },
            version: version,
            active: active
        )
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("recipient", recipient.description)
            json.field("kind", kind.rawValue)
            json.field("actor", actor.description)
            if let post { json.field("post", post.description) }
            if let report { json.field("report", report.description) }
            json.field("version", version)
            json.field("active", active)
        }
    }

    /// What tells the cause from others of its kind and actor; 0 where they are one.
    package var subject: Int64 { post?.rawValue ?? report ?? 0 }
}
