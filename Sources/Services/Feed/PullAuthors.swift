internal import Contracts
package import EventLoops
package import Logging
internal import Postgres

/// The authors whose posts are merged on reading, as this loop knows them.
///
/// Asked of every shard each second: an author who has just crossed the threshold is seen by then. While a
/// shard does not answer, the last answer stands.
package final class PullAuthors: @unchecked Sendable {
    // @unchecked: touched on its loop only.
    package static let interval = Duration.seconds(1)

    private let loop: EventLoop
    private let store: FeedStore
    private let logger: Logger
    private var timer: LoopTimer?
    private var isStopped = false

    /// Ascending; nil before the first answer.
    private(set) var known: [UserID]?

    package init(loop: EventLoop, store: FeedStore, logger: Logger) {
        self.loop = loop
        self.store = store
        self.logger = logger
    }

    package func start() {
        loop.assertOnLoop()
        loop.spawn { await self.ask() }
    }

    package func stop() {
        isStopped = true
        timer?.cancel()
    }

    /// The authors; a reader that comes before the first answer asks itself.
    func current() async throws -> [UserID] {
        if let known { return known }
        let answer = try await store.pullAuthorsOnEveryShard()
        known = known ?? answer
        return answer
    }

    private func ask() async {
        do throws(DatabaseError) {
            known = try await store.pullAuthorsOnEveryShard()
        } catch {
            logger.debug("pull authors not refreshed", metadata: ["error": "\(error)"])
        }
        guard !isStopped else { return }
        timer = loop.after(Self.interval) { self.start() }
    }
}
