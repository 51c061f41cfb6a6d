import JSON
import Sharding

/// What somebody has begun to write; ours, Mastodon has none.
package struct DraftEntity: Sendable, JSONEncodable {
    /// The fields of a post, as its client keeps them: nothing of it is checked before it is published.
    package struct Params: Sendable, Equatable, JSONEncodable {
        package var status = ""
        package var spoilerText = ""
        package var visibility: String?
        package var language: String?
        package var sensitive = false
        package var inReplyTo: String?
        package var media: [String] = []

        package init() {}

        package init?(_ json: JSONValue) {
            guard let status = json["status"]?.string,
                let spoilerText = json["spoiler_text"]?.string,
                let sensitive = json["sensitive"]?.bool,
                let media = json["media_ids"]?.array?.compactMap(\.string)
            else { return nil }
            self.status = status
            self.spoilerText = spoilerText
            self.sensitive = sensitive
            self.media = media
            visibility = json["visibility"]?.string
            language = json["language"]?.string
            inReplyTo = json["in_reply_to_id"]?.string
        }

        package func write(to json: inout JSONWriter) {
            json.object { json in
                json.field("status", status)
                json.field("spoiler_text", spoilerText)
                json.field("visibility", visibility)
                json.field("language", language)
                json.field("sensitive", sensitive)
                json.field("in_reply_to_id", inReplyTo)
                json.field("media_ids", media)
            }
        }
    }

    package var id: Int64
    /// Counts the changes: a device sends the one that it knows, and hears if another was faster.
    package var version: Int64
    package var params: Params
    package var updatedAt: Timestamp

    package init(id: Int64, version: Int64, params: Params, updatedAt: Timestamp) {
        self.id = id
        self.version = version
        self.params = params
        self.updatedAt = updatedAt
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("id", String(id))
            json.field("version", version)
            json.field("updated_at", updatedAt.iso8601)
            json.field("params", params)
        }
    }
}
