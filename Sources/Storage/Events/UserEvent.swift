import Postgres
import Sharding

/// Something that a user's apps are told as it happens.
package struct UserEvent: RowDecodable, Sendable, Equatable {
    package enum Kind: Int16, Sendable, CaseIterable {
        case notification = 1
        /// A post has come into the home timeline.
        case update = 2
        case delete = 3
        /// A post that the user has seen was edited.
        case statusUpdate = 4
    }

    package let user: Int64
    /// The place in the user's stream: events are given in this order, and none is added below the newest.
    package let seq: Int64
    /// Nil for one of a newer version, which is passed over.
    package let kind: Kind?
    /// The id of the notification or the post.
    package let subject: Int64

    package init(row: inout Row) throws(DatabaseError) {
        user = try row.next()
        seq = try row.next()
        kind = Kind(rawValue: try row.next())
        subject = try row.next()
    }
}

/// How far somebody has read a user's stream.
package struct StreamPlace: Routed, Sendable {
    package let user: Int64
    package let bucket: BucketID
    package let seq: Int64

    package init(user: some RoutedID, seq: Int64) {
        self.user = user.rawValue
        bucket = user.bucket
        self.seq = seq
    }
}
