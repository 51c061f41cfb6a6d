import JSON

/// A hashtag by itself.
package struct TagEntity: Sendable, JSONEncodable {
    package var name: String
    package var url: String
    package var following: Bool?

    package init(name: String, url: String, following: Bool? = nil) {
        self.name = name
        self.url = url
        self.following = following
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("id", name)
            json.field("name", name)
            json.field("url", url)
            json.key("history")
            json.array { _ in }
            if let following {
                json.field("following", following)
                json.field("featuring", false)
            }
        }
    }
}

/// What a search found.
package struct SearchEntity: Sendable, JSONEncodable {
    package var accounts: [AccountEntity]
    package var statuses: [StatusEntity]
    package var hashtags: [TagEntity]

    package init(accounts: [AccountEntity], statuses: [StatusEntity], hashtags: [TagEntity]) {
        self.accounts = accounts
        self.statuses = statuses
        self.hashtags = hashtags
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("accounts", accounts)
            json.field("statuses", statuses)
            json.field("hashtags", hashtags)
        }
    }
}
