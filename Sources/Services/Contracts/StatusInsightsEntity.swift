import JSON
import Sharding

/// How often a post was seen, liked and answered.
package struct StatusInsightsEntity: Sendable, JSONEncodable {
    package var id: PostID
    package var views: Int
    package var favourites: Int
    package var replies: Int

    package init(id: PostID, views: Int, favourites: Int, replies: Int) {
        self.id = id
        self.views = views
        self.favourites = favourites
        self.replies = replies
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("id", id.description)
            json.field("views_count", views)
            json.field("favourites_count", favourites)
            json.field("replies_count", replies)
        }
    }
}
