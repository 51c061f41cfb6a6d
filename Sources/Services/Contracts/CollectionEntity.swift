import JSON
import Sharding

/// Bookmarks of one user under a name; ours, Mastodon has none.
package struct CollectionEntity: Sendable, JSONEncodable {
    package var id: Int64
    package var name: String
    package var itemsCount: Int
    package var createdAt: Timestamp

    package init(id: Int64, name: String, itemsCount: Int, createdAt: Timestamp) {
        self.id = id
        self.name = name
        self.itemsCount = itemsCount
        self.createdAt = createdAt
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("id", String(id))
            json.field("name", name)
            json.field("items_count", itemsCount)
            json.field("created_at", createdAt.iso8601)
        }
    }
}
