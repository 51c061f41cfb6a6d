import Contracts
import Events
import JSON

/// Makes messages of events: what they show is fetched for the user, by the rules of whoever owns it.
struct StreamContents: Sendable {
    let posts: any PostsClient
    let notifications: any NotificationsClient

    /// The messages by place; events of what is gone, or hidden from the user, have none.
    func messages(
        of events: [UserEvent],
        for user: UserID
    ) async throws -> [Int64: StreamMessage] {
        var wantedPosts: [PostID] = []
        var wantedNotifications: [NotificationID] = []
        for event in events {
            switch event.kind {
            case .update, .statusUpdate: wantedPosts.append(PostID(rawValue: event.subject))
            case .notification:
                wantedNotifications.append(NotificationID(rawValue: event.subject))
            case .delete, nil: break
            }
        }
        let statuses =
            wantedPosts.isEmpty
            ? [:] : try await posts.statuses(wantedPosts, viewer: user, by: .home)
        let found = try await notifications.notifications(wantedNotifications, of: user)
        var messages: [Int64: StreamMessage] = [:]
        for event in events {
            let content: (event: String, payload: [UInt8])? =
                switch event.kind {
                case .notification:
                    found[NotificationID(rawValue: event.subject)].map {
                        ("notification", $0.jsonBytes)
                    }
                case .update:
                    statuses[PostID(rawValue: event.subject)].map { ("update", $0.jsonBytes) }
                case .statusUpdate:
                    statuses[PostID(rawValue: event.subject)].map {
                        ("status.update", $0.jsonBytes)
                    }
                case .delete: ("delete", Array(String(event.subject).utf8))
                case nil: nil
                }
            guard let content else { continue }
            messages[event.seq] = StreamMessage(
                event: content.event,
                payload: content.payload,
                seq: event.seq
            )
        }
        return messages
    }

    /// A post that is listed for everybody; nil for one that is not.
    func openPost(_ post: PostID) async throws -> StatusEntity? {
        let found = try await posts.statuses([post], viewer: nil, by: .discovery)[post]
        return found?.visibility == .public && found?.inReplyTo == nil ? found : nil
    }

    /// The post as one user sees it; nil if they do not.
    func update(_ post: PostID, for user: UserID) async throws -> StreamMessage? {
        try await posts.statuses([post], viewer: user, by: .discovery)[post].map {
            StreamMessage(event: "update", payload: $0.jsonBytes)
        }
    }
}
