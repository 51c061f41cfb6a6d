import Bus
import Sharding

/// What is said on the bus about streams and outboxes: here for those who speak and those who listen.
package struct EventBell: Sendable {
    private static let outbox = "tessera.outbox"
    private static let posts = "tessera.posts"

    private let bus: BusClient

    package init(bus: BusClient) {
        self.bus = bus
    }

    // MARK: Streams

    /// Says that streams have something new.
    package func ring(_ hints: [EventHint]) {
        for hint in hints {
            bus.publish(Self.subject(of: hint.user), Array(String(hint.seq).utf8))
        }
    }

    /// Calls `body` with the newest place of a user's stream, each time that somebody says it.
    package func listen(
        to user: some RoutedID,
        _ body: @escaping (_ seq: Int64) -> Void
    ) -> BusSubscription {
        bus.subscribe(Self.subject(of: user.rawValue)) { payload in
            // What cannot be read may be news all the same.
            body(Int64(String(decoding: payload, as: UTF8.self)) ?? .max)
        }
    }

    private static func subject(of user: Int64) -> String { "tessera.user.\(user)" }

    // MARK: Posts of everybody

    /// What happened to a post that anybody may hear of who may see it.
    package enum PostNews: String, Sendable {
        case published
        case deleted
    }

    package func tell(of post: some RoutedID, _ news: PostNews) {
        bus.publish(Self.posts, Array("\(news.rawValue) \(post.rawValue)".utf8))
    }

    package func onPosts(
        _ body: @escaping (_ post: Int64, _ news: PostNews) -> Void
    ) -> BusSubscription {
        bus.subscribe(Self.posts) { payload in
            let words = String(decoding: payload, as: UTF8.self).split(separator: " ")
            guard words.count == 2, let news = PostNews(rawValue: String(words[0])),
                let post = Int64(words[1])
            else { return }
            body(post, news)
        }
    }

    // MARK: Outboxes

    /// Says that effects were enqueued somewhere, so that workers look at once. Once a turn is enough.
    package func effectsWereEnqueued() { bus.publishOnce(Self.outbox) }

    package func onEffects(_ body: @escaping () -> Void) -> BusSubscription {
        bus.subscribe(Self.outbox) { _ in body() }
    }
}
