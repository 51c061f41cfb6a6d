import JSON
import Sharding

/// Something that a user is told of.
package struct NotificationEntity: Sendable, JSONEncodable {
    package var id: NotificationID
    package var kind: NotificationKind
    package var createdAt: Timestamp
    package var account: AccountEntity
    package var status: StatusEntity?
    /// Equal for those that are shown as one.
    package var groupKey: String

    package init(
        id: NotificationID,
        kind: NotificationKind,
        createdAt: Timestamp,
        account: AccountEntity,
        status: StatusEntity?,
        groupKey: String
    ) {
        self.id = id
        self.kind = kind
        self.createdAt = createdAt
        self.account = account
        self.status = status
        self.groupKey = groupKey
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("id", id.description)
            json.field("type", kind.rawValue)
            json.field("created_at", createdAt.iso8601)
            json.field("group_key", groupKey)
            json.field("account", account)
            if let status { json.field("status", status) }
        }
    }
}

/// Notifications of one kind about one thing, shown as one.
package struct NotificationGroupEntity: Sendable, JSONEncodable {
    package var key: String
    package var kind: NotificationKind
    package var count: Int
    package var newest: NotificationID
    /// Of those that the asked page may hold.
    package var oldest: NotificationID
    package var newestAt: Timestamp
    /// The latest of those who caused it.
    package var sampleAccounts: [UserID]
    package var status: PostID?

    package init(
        key: String,
        kind: NotificationKind,
        count: Int,
        newest: NotificationID,
        oldest: NotificationID,
        newestAt: Timestamp,
        sampleAccounts: [UserID],
        status: PostID?
    ) {
        self.key = key
        self.kind = kind
        self.count = count
        self.newest = newest
        self.oldest = oldest
        self.newestAt = newestAt
        self.sampleAccounts = sampleAccounts
        self.status = status
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("group_key", key)
            json.field("notifications_count", count)
            json.field("type", kind.rawValue)
            // The one id in the whole API that is a number: so it is in Mastodon's.
            json.field("most_recent_notification_id", newest.rawValue)
            json.field("page_min_id", oldest.description)
            json.field("page_max_id", newest.description)
            json.field("latest_page_notification_at", newestAt.iso8601)
            json.field("sample_account_ids", sampleAccounts.map(\.description))
            if let status { json.field("status_id", status.description) }
        }
    }
}

/// A page of groups, with each account and each post that they name once.
package struct NotificationGroupsEntity: Sendable, JSONEncodable {
    package var accounts: [AccountEntity]
    package var statuses: [StatusEntity]
    package var groups: [NotificationGroupEntity]

    package init(
        accounts: [AccountEntity],
        statuses: [StatusEntity],
        groups: [NotificationGroupEntity]
    ) {
        self.accounts = accounts
        self.statuses = statuses
        self.groups = groups
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("accounts", accounts)
            json.field("statuses", statuses)
            json.field("notification_groups", groups)
        }
    }
}

/// How far a timeline was read.
package struct MarkerEntity: Sendable, JSONEncodable {
    package var lastRead: Int64
    package var version: Int
    package var updatedAt: Timestamp

    package init(lastRead: Int64, version: Int, updatedAt: Timestamp) {
        self.lastRead = lastRead
        self.version = version
        self.updatedAt = updatedAt
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.key("last_read_id")
            json.string(decimal: lastRead)
            json.field("version", version)
            json.field("updated_at", updatedAt.iso8601)
        }
    }
}

/// The marks of some timelines; one that was never set is left out.
package struct MarkersEntity: Sendable, JSONEncodable {
    package var home: MarkerEntity?
    package var notifications: MarkerEntity?

    package init(home: MarkerEntity? = nil, notifications: MarkerEntity? = nil) {
        self.home = home
        self.notifications = notifications
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            if let home { json.field("home", home) }
            if let notifications { json.field("notifications", notifications) }
        }
    }
}

/// From whom a user wants to be told of something.
package enum NotificationSenders: String, Sendable, CaseIterable {
    case everyone
    case followed
    case nobody
}

/// From whom a user wants each kind of notification.
package struct NotificationSettingsEntity: Sendable, JSONEncodable {
    package var senders: [NotificationKind: NotificationSenders]

    package init(senders: [NotificationKind: NotificationSenders]) {
        self.senders = senders
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            for kind in NotificationKind.allCases {
                json.key(kind.rawValue)
                json.string((senders[kind] ?? .everyone).rawValue)
            }
        }
    }
}

/// How many notifications nobody has read yet.
package struct UnreadCountEntity: Sendable, JSONEncodable {
    package var count: Int

    package init(count: Int) {
        self.count = count
    }

    package func write(to json: inout JSONWriter) {
        json.object { $0.field("count", count) }
    }
}
