import JSON
import Sharding

/// A user as others see it.
///
/// Every key that Mastodon's documentation does not call optional is written, null where it allows null.
package struct AccountEntity: Sendable, Equatable, JSONEncodable {
    package struct Field: Sendable, Equatable, JSONEncodable {
        package var name: String
        /// HTML, made by ``RichText``.
        package var value: String
        package var verifiedAt: Timestamp?

        package init(name: String, value: String, verifiedAt: Timestamp? = nil) {
            self.name = name
            self.value = value
            self.verifiedAt = verifiedAt
        }

        package func write(to json: inout JSONWriter) {
            json.object { json in
                json.field("name", name)
                json.field("value", value)
                json.field("verified_at", verifiedAt?.iso8601)
            }
        }
    }

    package var id: UserID
    package var username: String
    package var displayName: String
    /// The page for people.
    package var url: String
    /// The name of the account in a federation, for ever the same.
    package var uri: String
    /// HTML, made by ``RichText``.
    package var note: String
    package var avatar: String
    package var avatarStatic: String
    package var header: String
    package var headerStatic: String
    package var avatarDescription: String
    package var headerDescription: String
    package var locked: Bool
    package var bot: Bool
    package var discoverable: Bool?
    package var indexable: Bool
    package var noindex: Bool
    package var hideCollections: Bool?
    package var suspended: Bool
    /// Shown by moderators' decision to followers only where strangers are shown.
    package var limited: Bool
    package var fields: [Field]
    /// When the account was made; clients are shown the day only.
    package var createdAt: Timestamp
    package var lastStatusAt: Timestamp?
    package var statusesCount: Int
    package var followersCount: Int
    package var followingCount: Int

    package init(
        id: UserID,
        username: String,
        displayName: String,
        url: String,
        uri: String? = nil,
        note: String = "",
        avatar: String,
        avatarStatic: String? = nil,
        header: String,
        headerStatic: String? = nil,
        avatarDescription: String = "",
        headerDescription: String = "",
        locked: Bool = false,
        bot: Bool = false,
        discoverable: Bool? = nil,
        indexable: Bool = false,
        noindex: Bool = false,
        hideCollections: Bool? = nil,
        suspended: Bool = false,
        limited: Bool = false,
        fields: [Field] = [],
        createdAt: Timestamp,
        lastStatusAt: Timestamp? = nil,
        statusesCount: Int = 0,
        followersCount: Int = 0,
        followingCount: Int = 0
    ) {
        self.id = id
        self.username = username
        self.displayName = displayName
        self.url = url
        self.uri = uri ?? url
        self.note = note
        self.avatar = avatar
        self.avatarStatic = avatarStatic ?? avatar
        self.header = header
        self.headerStatic = headerStatic ?? header
        self.avatarDescription = avatarDescription
        self.headerDescription = headerDescription
        self.locked = locked
        self.bot = bot
        self.discoverable = discoverable
        self.indexable = indexable
        self.noindex = noindex
        self.hideCollections = hideCollections
        self.suspended = suspended
        self.limited = limited
        self.fields = fields
        self.createdAt = createdAt
        self.lastStatusAt = lastStatusAt
        self.statusesCount = statusesCount
        self.followersCount = followersCount
        self.followingCount = followingCount
    }

    package func write(to json: inout JSONWriter) {
        json.object { writeFields(to: &$0) }
    }

    /// The members without the braces, for entities that add some.
    func writeFields(to json: inout JSONWriter) {
        json.field("id", id.description)
        json.field("username", username)
        json.field("acct", username)
        json.field("display_name", displayName)
        json.field("locked", locked)
        json.field("bot", bot)
        json.field("discoverable", discoverable)
        json.field("indexable", indexable)
        json.field("noindex", noindex)
        json.field("group", false)
        json.field("created_at", String(createdAt.iso8601.prefix(10)) + "T00:00:00.000Z")
        json.field("note", note)
        json.field("url", url)
        json.field("uri", uri)
        json.field("avatar", avatar)
        json.field("avatar_static", avatarStatic)
        json.field("avatar_description", avatarDescription)
        json.field("header", header)
        json.field("header_static", headerStatic)
        json.field("header_description", headerDescription)
        json.field("followers_count", followersCount)
        json.field("following_count", followingCount)
        json.field("statuses_count", statusesCount)
        json.field("last_status_at", lastStatusAt.map { String($0.iso8601.prefix(10)) })
        json.field("hide_collections", hideCollections)
        if suspended { json.field("suspended", true) }
        if limited { json.field("limited", true) }
        json.key("emojis")
        json.array { _ in }
        json.key("roles")
        json.array { _ in }
        json.field("fields", fields)
    }
}

/// The account that asks, with what only its owner may see.
package struct CredentialAccountEntity: Sendable, JSONEncodable {
    package struct Source: Sendable {
        /// The note as it was typed.
        package var note: String
        package var fields: [AccountEntity.Field]
        package var privacy: Visibility
        package var sensitive: Bool
        package var language: String?
        package var followRequestsCount: Int

        package init(
            note: String,
            fields: [AccountEntity.Field] = [],
            privacy: Visibility = .public,
            sensitive: Bool = false,
            language: String? = nil,
            followRequestsCount: Int = 0
        ) {
            self.note = note
            self.fields = fields
            self.privacy = privacy
            self.sensitive = sensitive
            self.language = language
            self.followRequestsCount = followRequestsCount
        }
    }

    package var account: AccountEntity
    package var source: Source
    package var role: RoleEntity

    package init(account: AccountEntity, source: Source, role: RoleEntity = .everyone) {
        self.account = account
        self.source = source
        self.role = role
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            account.writeFields(to: &json)
            json.key("source")
            json.object { json in
                json.field("note", source.note)
                json.field("fields", source.fields)
                json.field("privacy", source.privacy.rawValue)
                json.field("sensitive", source.sensitive)
                json.field("language", source.language)
                json.field("follow_requests_count", source.followRequestsCount)
                json.field("hide_collections", account.hideCollections)
                json.field("discoverable", account.discoverable)
                json.field("indexable", account.indexable)
                json.key("attribution_domains")
                json.array { _ in }
                json.field("quote_policy", "nobody")
            }
            json.field("role", role)
        }
    }
}

/// What an account may do beyond everybody.
package struct RoleEntity: Sendable, Equatable, JSONEncodable {
    package var id: String
    package var name: String
    package var color: String
    package var permissions: String
    package var highlighted: Bool

    package init(id: String, name: String, color: String, permissions: String, highlighted: Bool) {
        self.id = id
        self.name = name
        self.color = color
        self.permissions = permissions
        self.highlighted = highlighted
    }

    /// No more than everybody may.
    package static let everyone = RoleEntity(
        id: "-99",
        name: "",
        color: "",
        permissions: "0",
        highlighted: false
    )

    package static let administrator = RoleEntity(
        id: "1",
        name: "Admin",
        color: "",
        permissions: "1",
        highlighted: true
    )

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("id", id)
            json.field("name", name)
            json.field("color", color)
            json.field("permissions", permissions)
            json.field("highlighted", highlighted)
        }
    }
}

/// Who of those that one follows follows an account.
package struct FamiliarFollowersEntity: Sendable, JSONEncodable {
    package var id: UserID
    package var accounts: [AccountEntity]

    package init(id: UserID, accounts: [AccountEntity]) {
        self.id = id
        self.accounts = accounts
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("id", id.description)
            json.field("accounts", accounts)
        }
    }
}

/// How one user stands to another.
package struct RelationshipEntity: Sendable, Equatable, JSONEncodable {
    package var id: UserID
    package var following = false
    package var showingReblogs = false
    package var notifying = false
    package var followedBy = false
    package var blocking = false
    package var blockedBy = false
    package var muting = false
    package var mutingNotifications = false
    package var mutingExpiresAt: Timestamp?
    package var requested = false
    package var requestedBy = false
    /// Whether the user's comments wait for approval; ours.
    package var restricting = false
    /// Whether one counts the user among one's close friends; ours.
    package var closeFriend = false
    package var note = ""

    package init(id: UserID) {
        self.id = id
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("id", id.description)
            json.field("following", following)
            json.field("showing_reblogs", showingReblogs)
            json.field("notifying", notifying)
            json.key("languages")
            json.array { _ in }
            json.field("followed_by", followedBy)
            json.field("blocking", blocking)
            json.field("blocked_by", blockedBy)
            json.field("muting", muting)
            json.field("muting_notifications", mutingNotifications)
            json.field("muting_expires_at", mutingExpiresAt?.iso8601)
            json.field("requested", requested)
            json.field("requested_by", requestedBy)
            json.field("restricting", restricting)
            json.field("close_friend", closeFriend)
            json.field("domain_blocking", false)
            json.field("endorsed", false)
            json.field("note", note)
        }
    }
}
