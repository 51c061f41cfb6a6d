import JSON
import Sharding

/// A post that waits for its time.
package struct ScheduledStatusEntity: Sendable, JSONEncodable {
    package var id: PostID
    package var scheduledAt: Timestamp
    package var text: String
    package var spoilerText: String
    package var sensitive: Bool
    package var language: String?
    package var visibility: Visibility
    package var inReplyTo: PostID?
    package var attachments: [MediaAttachmentEntity]
    package var pollOptions: [String]

    package init(
        id: PostID,
        scheduledAt: Timestamp,
        text: String,
        spoilerText: String,
        sensitive: Bool,
        language: String?,
        visibility: Visibility,
        inReplyTo: PostID?,
        attachments: [MediaAttachmentEntity],
        pollOptions: [String]
    ) {
        self.id = id
        self.scheduledAt = scheduledAt
        self.text = text
        self.spoilerText = spoilerText
        self.sensitive = sensitive
        self.language = language
        self.visibility = visibility
        self.inReplyTo = inReplyTo
        self.attachments = attachments
        self.pollOptions = pollOptions
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("id", id.description)
            json.field("scheduled_at", scheduledAt.iso8601)
            json.key("params")
            json.object { json in
                json.field("text", text)
                json.key("poll")
                if pollOptions.isEmpty {
                    json.null()
                } else {
                    json.object { $0.field("options", pollOptions) }
                }
                json.field("media_ids", attachments.map(\.id.description))
                json.field("sensitive", sensitive)
                json.field("spoiler_text", spoilerText)
                json.field("visibility", visibility.rawValue)
                json.field("in_reply_to_id", inReplyTo?.description)
                json.field("language", language)
                json.key("application_id")
                json.null()
                json.key("scheduled_at")
                json.null()
                json.key("idempotency")
                json.null()
                json.field("with_rate_limit", false)
            }
            json.field("media_attachments", attachments)
        }
    }
}
