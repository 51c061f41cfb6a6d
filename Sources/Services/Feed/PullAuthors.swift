internal import Contracts
package import EventLoops
internal import Sharding

/// The authors whose posts are merged on reading, as this loop knows them.
///
/// Asked of every shard each second: an author who has just crossed the threshold is seen by then. While a
/// shard does not answer, the last answer stands.
package final class PullAuthors: @unchecked Sendable {
    // @unchecked: touched on its loop only.
    package static let interval = Duration.seconds(1)

    private let loop: EventLoop
    private let store: FeedStore
    private var timer: LoopTimer?
    private var isStopped = false

    private var known: [ShardID: [UserID]] = [:]
    /// All of them, ascending: put together once a second and not at each read.
    private var authors: [UserID] = []
    private var hasAsked = false

    package init(loop: EventLoop, store: FeedStore) {
        self.loop = loop
        self.store = store
    }

    package func start() {
        loop.assertOnLoop()
        loop.spawn { await self.ask() }
    }

    package func stop() {
        isStopped = true
        timer?.cancel()
    }

    /// The authors, ascending; a reader that comes before the first answer asks for it.
    func current() async -> [UserID] {
        if !hasAsked { await refresh() }
        return authors
    }

    private func refresh() async {
        let answer = await store.pullAuthorsOnEachShard()
        known.merge(answer) { $1 }
        authors = Set(known.values.joined()).sorted()
        hasAsked = true
    }

    private func ask() async {
        await refresh()
        guard !isStopped else { return }
        timer = loop.after(Self.interval) { self.start() }
    }
}
