import JSON
import Sharding

/// A post or a comment as one viewer sees it.
package struct StatusEntity: Sendable, JSONEncodable {
    package struct Mention: Sendable, Equatable, JSONEncodable {
        package var id: UserID
        package var username: String
        package var url: String

        package init(id: UserID, username: String, url: String) {
            self.id = id
            self.username = username
            self.url = url
        }

        package func write(to json: inout JSONWriter) {
            json.object { json in
                json.field("id", id.description)
                json.field("username", username)
                json.field("url", url)
                json.field("acct", username)
            }
        }
    }

    /// The application that it was posted with.
    package struct Client: Sendable, Equatable, JSONEncodable {
        package var name: String
        package var website: String?

        package init(name: String, website: String?) {
            self.name = name
            self.website = website
        }

        package func write(to json: inout JSONWriter) {
            json.object { json in
                json.field("name", name)
                json.field("website", website)
            }
        }
    }

    /// What depends on who asks; absent for who is not logged in.
    package struct ViewerState: Sendable, Equatable {
        package var favourited: Bool
        package var bookmarked: Bool
        package var reblogged: Bool
        package var muted: Bool
        /// Known on the viewer's own posts only.
        package var pinned: Bool?

        package init(
            favourited: Bool = false,
            bookmarked: Bool = false,
            reblogged: Bool = false,
            muted: Bool = false,
            pinned: Bool? = nil
        ) {
            self.favourited = favourited
            self.bookmarked = bookmarked
            self.reblogged = reblogged
            self.muted = muted
            self.pinned = pinned
        }
    }

    package var id: PostID
    package var createdAt: Timestamp
    package var editedAt: Timestamp?
    package var account: AccountEntity
    /// HTML, made by ``RichText``.
    package var content: String
    package var visibility: Visibility
    package var sensitive: Bool
    package var spoilerText: String
    package var language: String?
    package var url: String
    package var inReplyTo: PostID?
    package var inReplyToAccount: UserID?
    package var attachments: [MediaAttachmentEntity]
    package var mentions: [Mention]
    package var tags: [StatusTag]
    package var application: Client?
    package var repliesCount: Int
    package var reblogsCount: Int
    package var favouritesCount: Int
    /// Whether the author shows to nobody who likes it, and how many; ours.
    package var likesHidden: Bool
    package var viewer: ViewerState?
    /// The text as it was typed; only in the answer to a deletion.
    package var text: String?

    package init(
        id: PostID,
        createdAt: Timestamp,
        editedAt: Timestamp? = nil,
        account: AccountEntity,
        content: String,
        visibility: Visibility,
        sensitive: Bool = false,
        spoilerText: String = "",
        language: String? = nil,
        url: String,
        inReplyTo: PostID? = nil,
        inReplyToAccount: UserID? = nil,
        attachments: [MediaAttachmentEntity] = [],
        mentions: [Mention] = [],
        tags: [StatusTag] = [],
        application: Client? = nil,
        repliesCount: Int = 0,
        reblogsCount: Int = 0,
        favouritesCount: Int = 0,
        likesHidden: Bool = false,
        viewer: ViewerState? = nil,
        text: String? = nil
    ) {
        self.id = id
        self.createdAt = createdAt
        self.editedAt = editedAt
        self.account = account
        self.content = content
        self.visibility = visibility
        self.sensitive = sensitive
        self.spoilerText = spoilerText
        self.language = language
        self.url = url
        self.inReplyTo = inReplyTo
        self.inReplyToAccount = inReplyToAccount
        self.attachments = attachments
        self.mentions = mentions
        self.tags = tags
        self.application = application
        self.repliesCount = repliesCount
        self.reblogsCount = reblogsCount
        self.favouritesCount = favouritesCount
        self.likesHidden = likesHidden
        self.viewer = viewer
        self.text = text
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("id", id.description)
            json.field("uri", url)
            json.field("url", url)
            json.field("created_at", createdAt.iso8601)
            json.field("edited_at", editedAt?.iso8601)
            json.field("account", account)
            json.field("content", content)
            json.field("visibility", visibility.mastodonName)
            json.field("audience", visibility.rawValue)
            json.field("sensitive", sensitive)
            json.field("spoiler_text", spoilerText)
            json.field("language", language)
            json.field("in_reply_to_id", inReplyTo?.description)
            json.field("in_reply_to_account_id", inReplyToAccount?.description)
            json.field("media_attachments", attachments)
            json.field("mentions", mentions)
            json.field("tags", tags)
            json.key("emojis")
            json.array { _ in }
            json.field("reblogs_count", reblogsCount)
            json.field("favourites_count", favouritesCount)
            json.field("likes_hidden", likesHidden)
            json.field("replies_count", repliesCount)
            json.field("quotes_count", 0)
            for name in ["reblog", "poll", "card", "quote"] {
                json.key(name)
                json.null()
            }
            writeQuoteApproval(to: &json)
            if let application { json.field("application", application) }
            if let viewer { write(viewer, to: &json) }
            if let text { json.field("text", text) }
        }
    }

    private func writeQuoteApproval(to json: inout JSONWriter) {
        json.key("quote_approval")
        json.object { json in
            json.key("automatic")
            json.array { _ in }
            json.key("manual")
            json.array { _ in }
            json.field("current_user", "denied")
        }
    }

    private func write(_ viewer: ViewerState, to json: inout JSONWriter) {
        json.field("favourited", viewer.favourited)
        json.field("reblogged", viewer.reblogged)
        json.field("muted", viewer.muted)
        json.field("bookmarked", viewer.bookmarked)
        if let pinned = viewer.pinned { json.field("pinned", pinned) }
        json.key("filtered")
        json.array { _ in }
    }
}

/// A hashtag inside a post.
package struct StatusTag: Sendable, Equatable, JSONEncodable {
    /// Without the `#`, in lower case.
    package var name: String
    package var url: String

    package init(name: String, url: String) {
        self.name = name
        self.url = url
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("name", name)
            json.field("url", url)
        }
    }
}

/// The conversation around a post.
package struct ContextEntity: Sendable, JSONEncodable {
    /// From the first post of the conversation down to the parent.
    package var ancestors: [StatusEntity]
    /// The answers, oldest first.
    package var descendants: [StatusEntity]

    package init(ancestors: [StatusEntity], descendants: [StatusEntity]) {
        self.ancestors = ancestors
        self.descendants = descendants
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("ancestors", ancestors)
            json.field("descendants", descendants)
        }
    }
}

/// A post as it was typed, to be edited.
package struct StatusSourceEntity: Sendable, JSONEncodable {
    package var id: PostID
    package var text: String
    package var spoilerText: String

    package init(id: PostID, text: String, spoilerText: String) {
        self.id = id
        self.text = text
        self.spoilerText = spoilerText
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("id", id.description)
            json.field("text", text)
            json.field("spoiler_text", spoilerText)
        }
    }
}

/// One version of a post.
package struct StatusEditEntity: Sendable, JSONEncodable {
    package var content: String
    package var spoilerText: String
    package var sensitive: Bool
    package var createdAt: Timestamp
    package var account: AccountEntity
    package var attachments: [MediaAttachmentEntity]

    package init(
        content: String,
        spoilerText: String,
        sensitive: Bool,
        createdAt: Timestamp,
        account: AccountEntity,
        attachments: [MediaAttachmentEntity]
    ) {
        self.content = content
        self.spoilerText = spoilerText
        self.sensitive = sensitive
        self.createdAt = createdAt
        self.account = account
        self.attachments = attachments
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("content", content)
            json.field("spoiler_text", spoilerText)
            json.field("sensitive", sensitive)
            json.field("created_at", createdAt.iso8601)
            json.field("account", account)
            json.field("media_attachments", attachments)
            json.key("emojis")
            json.array { _ in }
            json.key("quote")
            json.null()
        }
    }
}
