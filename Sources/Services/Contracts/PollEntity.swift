import JSON
import Sharding

/// A poll as one viewer sees it.
package struct PollEntity: Sendable, JSONEncodable {
    package struct Option: Sendable {
        package var title: String
        /// Nil while the counts are hidden.
        package var votes: Int?

        package init(title: String, votes: Int?) {
            self.title = title
            self.votes = votes
        }
    }

    /// That of its post.
    package var id: PostID
    package var expiresAt: Timestamp
    package var isExpired: Bool
    package var isMultiple: Bool
    package var options: [Option]
    package var votes: Int
    package var voters: Int
    /// What the viewer chose; nil for whoever is not logged in.
    package var ownVotes: [Int]?
    /// Whether the viewer is the author, who counts as having voted.
    package var isOwn = false

    package init(
        id: PostID,
        expiresAt: Timestamp,
        isExpired: Bool,
        isMultiple: Bool,
        options: [Option],
        votes: Int,
        voters: Int
    ) {
        self.id = id
        self.expiresAt = expiresAt
        self.isExpired = isExpired
        self.isMultiple = isMultiple
        self.options = options
        self.votes = votes
        self.voters = voters
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("id", id.description)
            json.field("expires_at", expiresAt.iso8601)
            json.field("expired", isExpired)
            json.field("multiple", isMultiple)
            json.field("votes_count", votes)
            json.field("voters_count", voters)
            json.key("options")
            json.array { json in
                for option in options {
                    json.object { json in
                        json.field("title", option.title)
                        json.field("votes_count", option.votes)
                    }
                }
            }
            json.key("emojis")
            json.array { _ in }
            if let ownVotes {
                json.field("voted", isOwn || !ownVotes.isEmpty)
                json.field("own_votes", ownVotes)
            }
        }
    }
}
