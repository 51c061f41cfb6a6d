package import Contracts
package import Database
package import EventLoops
package import Events
package import Interactions
import HTTP
internal import JSON
package import Jobs
package import Logging
package import Pages
package import ServiceKit
internal import Sharding

/// Home timelines. Read this first.
///
/// A post is written into its followers' feeds when it is published (``FanOut``, by workers), except where
/// its author has too many followers; reading merges the two and the reader's own posts (``HomeFeed``). What is
/// shown is always decided by the reader's own following rows, so entries only need to be there, never gone,
/// in time. Feeds of readers who stay away are given up, and rebuilt when they return (``RebuildFeed``).
package struct FeedService: Service {
    package static let schema = SchemaRequirement(module: "Feed", number: 2)

    /// Whoever has read within it counts as active.
    private static let activeDays = 30

    private let feed: HomeFeed
    private let pullAuthors: PullAuthors
    private let serving: PageServing

    package init(
        loop: EventLoop,
        database: Database,
        posts: any PostsClient,
        pages: PageCache?,
        interactions: InteractionLog?,
        logger: Logger
    ) {
        serving = PageServing(pages: pages, interactions: interactions, surface: .home)
        let store = FeedStore(database: database)
        pullAuthors = PullAuthors(loop: loop, store: store)
        feed = HomeFeed(
            loop: loop,
            store: store,
            posts: posts,
            pullAuthors: pullAuthors,
            logger: logger
        )
    }

    /// Begins to follow which authors are merged on reading; on the service's loop.
    package func start() { pullAuthors.start() }

    package func stop() { pullAuthors.stop() }

    package var endpoints: [Endpoint] {
        [
            Endpoint(
                .get,
                "/api/v1/timelines/home",
                operationID: "getHomeTimeline",
                summary: "Posts of those you follow and your own, newest first",
                tag: "timelines",
                access: .user(["read:statuses"]),
                inputs: Parameter.paging,
                output: .list("Status")
            ) { call in
                let request = try PageRequest(call.input)
                let user = try call.user()
                let key = request.isFirst ? PageKey.home(user.rawValue) : nil
                return try await serving.answer(call, key, limit: request.limit) {
                    let page = try await home(of: user, request)
                    return PageContents(
                        showing: page.statuses,
                        merged: page.merged,
                        first: page.first?.rawValue,
                        last: page.last?.rawValue,
                        isFull: page.isFull
                    )
                }
            }
        ]
    }

    /// One page of a reader's home timeline.
    package func home(of reader: UserID, _ request: PageRequest) async throws -> HomeFeed.Page {
        try await feed.page(of: reader, request)
    }

    /// How many have read their home timeline within a month; asks all shards, and each counts.
    package func activeReaders() async throws -> Int {
        try await feed.store.activeReaders(days: Self.activeDays)
    }

    /// What a worker does for feeds. Authors with more followers than `threshold` are merged on reading; one
    /// effect delivers to `rangeSize` followers at most. `drop` takes the rendered pages of feeds that change, and
    /// `news` tells those readers who listen.
    package static func effects(
        database: Database,
        posts: any PostsClient,
        drop: PageDrop?,
        news: StreamNews? = nil,
        threshold: Int,
        rangeSize: Int = FanOut.rangeSize
    ) -> [any EffectHandler] {
        let store = FeedStore(database: database)
        let delivery = Delivery(
            store: store,
            loop: database.loop,
            drop: drop,
            news: news,
            rangeSize: rangeSize
        )
        return [
            FanOutHandler(delivery: delivery, threshold: threshold),
            DeliverHandler(delivery: delivery),
            RetractHandler(delivery: delivery),
            BackfillHandler(store: store, posts: posts, drop: drop, threshold: threshold),
            CleanUpHandler(store: store, drop: drop),
        ]
    }
}
