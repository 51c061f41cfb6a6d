import Postgres
import Sharding

/// Tells of posts to those who listen: in their streams, and on the bus.
package struct StreamNews: Sendable {
    private let log: EventLog
    private let bell: EventBell

    package init(log: EventLog, bell: EventBell) {
        self.log = log
        self.bell = bell
    }

    /// A post has come into, or is out of, the home timelines of these readers. Repeating it changes nothing.
    package func tell(
        _ kind: UserEvent.Kind,
        _ post: some RoutedID,
        to readers: [some RoutedID]
    ) async throws(DatabaseError) {
        bell.ring(try await log.append(kind, post, to: readers))
    }

    /// A post exists, or is gone, for whoever may see it.
    package func tellEverybody(of post: some RoutedID, _ news: EventBell.PostNews) {
        bell.tell(of: post, news)
    }
}
