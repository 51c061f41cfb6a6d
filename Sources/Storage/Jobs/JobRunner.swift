package import Database
package import EventLoops
package import Logging
package import Metrics
internal import Sharding

/// Runs the effects of a worker's shards: claims them, hands them to their handlers, settles the outcome.
///
/// One runner serves one loop of one worker. Runners of any number of loops and workers share the work
/// through leases, so adding a worker needs no configuration and killing one loses nothing: its effects are
/// due again when their leases end.
package final class JobRunner: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    package struct Settings: Sendable {
        /// How long a claimed effect belongs to this runner unless it extends the lease.
        package var lease = Duration.seconds(10)
        package var pace = ClaimPace.Limits()
        package var policy = RetryPolicy()
        /// This runner takes each `share.of`-th shard, beginning with number `share.index`.
        package var share = (index: 0, of: 1)

        package init() {}
    }

    private static let mapInterval = Duration.seconds(1)

    private let loop: EventLoop
    private let database: Database
    private let logger: Logger
    private let context: QueueContext
    private let share: (index: Int, of: Int)
    private var queues: [ShardID: ShardQueue] = [:]
    private var isDraining = false

    package init(
        loop: EventLoop,
        database: Database,
        handlers: [any EffectHandler],
        settings: Settings = Settings(),
        metrics: MetricsRegistry,
        logger: Logger
    ) {
        self.loop = loop
        self.database = database
        self.logger = logger
        share = settings.share
        context = QueueContext(
            loop: loop,
            database: database,
            handlers: handlers,
            settings: settings,
            metrics: metrics,
            logger: logger
        )
    }

    /// Begins to claim; follows the map as shards come and go.
    package func start() {
        loop.assertOnLoop()
        followMap()
    }

    private func followMap() {
        guard !isDraining else { return }
        let mine = database.shards.enumerated()
            .filter { $0.offset % share.of == share.index }
            .map(\.element)
        // Shards that are gone, and those that another loop has by now.
        for (shard, queue) in queues where !mine.contains(shard) {
            queue.drain()
            if queue.isAtRest { queues[shard] = nil }
        }
        for shard in mine where queues[shard]?.isAtRest ?? true {
            let queue = ShardQueue(shard: shard, context: context)
            queues[shard] = queue
            loop.spawn { await queue.run() }
        }
        loop.after(Self.mapInterval) { self.followMap() }
    }

    /// Looks for work at once: somebody says that effects were just enqueued.
    package func stir() {
        loop.assertOnLoop()
        for queue in queues.values { queue.stir() }
    }

    /// Claims nothing more and returns when every running effect has ended and is settled, or at the
    /// deadline; what still runs then is run again by another worker when its lease ends.
    package func drain(deadline: Duration) async {
        isDraining = true
        for queue in queues.values { queue.drain() }
        let end = EventLoop.nanoseconds + UInt64(deadline.seconds * 1e9)
        while queues.values.contains(where: { !$0.isAtRest }), EventLoop.nanoseconds < end {
            await context.pause(.milliseconds(5))
        }
        let left = queues.values.reduce(0) { $0 + $1.unsettled }
        if left > 0 {
            logger.warning("effects left to their leases", metadata: ["count": "\(left)"])
        }
    }
}

/// What the queues of one runner share.
final class QueueContext: @unchecked Sendable {
    // @unchecked: touched on its loop only.
    let loop: EventLoop
    let database: Database
    let store: OutboxStore
    let handlers: [String: any EffectHandler]
    let settings: JobRunner.Settings
    let metrics: JobMetrics
    let logger: Logger
    var breaker = Breaker()
    var random = SystemRandomNumberGenerator()

    init(
        loop: EventLoop,
        database: Database,
        handlers: [any EffectHandler],
        settings: JobRunner.Settings,
        metrics: MetricsRegistry,
        logger: Logger
    ) {
        self.loop = loop
        self.database = database
        store = OutboxStore(database: database)
        self.handlers = Dictionary(uniqueKeysWithValues: handlers.map { ($0.kind, $0) })
        self.settings = settings
        self.metrics = JobMetrics(registry: metrics, kinds: handlers.map(\.kind))
        self.logger = logger
    }

    func pause(_ time: Duration) async {
        await Bell(loop: loop).wait(atMost: time)
    }
}
