import Sharding

/// A user; its bucket is the user's own, where all that the user does is kept.
package struct UserID: RoutedID {
    package let rawValue: Int64
    package init(rawValue: Int64) { self.rawValue = rawValue }
}

/// A post or a comment, which are both statuses in the API; its bucket is the author's.
package struct PostID: RoutedID {
    package let rawValue: Int64
    package init(rawValue: Int64) { self.rawValue = rawValue }
}

/// A photo; its bucket is its owner's.
package struct MediaID: RoutedID {
    package let rawValue: Int64
    package init(rawValue: Int64) { self.rawValue = rawValue }
}

/// One log-in of one user on one application; its bucket is the user's.
package struct SessionID: RoutedID {
    package let rawValue: Int64
    package init(rawValue: Int64) { self.rawValue = rawValue }
}

/// A client application; its bucket is that of the hash of its client id.
package struct ApplicationID: RoutedID {
    package let rawValue: Int64
    package init(rawValue: Int64) { self.rawValue = rawValue }
}

/// A notification; its bucket is its recipient's.
package struct NotificationID: RoutedID {
    package let rawValue: Int64
    package init(rawValue: Int64) { self.rawValue = rawValue }
}
