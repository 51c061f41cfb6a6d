import Accounts
import Counters
import Database
import EventLoops
import Feed
import Logging
import Metrics
import Pages
import ServiceKit
import Sharding

/// What has to be done now and then, whether anybody asks or not: counts folded, feeds trimmed, old answers
/// and log-ins forgotten.
///
/// Each chore may be done by several workers at once and be left half-done; the next round goes on.
final class Chores: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    /// How long folded counts may wait.
    private static let foldInterval = Duration.seconds(1)
    /// How often what was withdrawn long ago is forgotten.
    private static let withdrawnInterval = Duration.seconds(60)
    /// One bucket is swept in each.
    private static let sweepInterval = Duration.milliseconds(500)
    /// How often a shard is asked for moves that nobody moves on.
    private static let strandedInterval = Duration.milliseconds(500)
    /// Answers that one sweep of a bucket forgets.
    private static let forgetLimit = 500

    private let database: Database
    private let share: (index: Int, of: Int)
    private let folder: CounterFolder
    private let sweepFeeds: FeedSweep
    private let sweepAccounts: AccountSweep
    private let strandedMoves: StrandedMoves
    private let folded: Counter
    private let failures: Counter
    private let log: Logger
    private var isStopped = false

    init(
        database: Database,
        share: (index: Int, of: Int),
        idleDays: Int,
        metrics: MetricsRegistry,
        log: Logger
    ) {
        self.database = database
        self.share = share
        self.log = log
        folder = CounterFolder(database: database)
        sweepFeeds = FeedSweep(database: database, idleDays: idleDays)
        sweepAccounts = AccountSweep(database: database)
        strandedMoves = StrandedMoves(database: database, metrics: metrics, log: log)
        folded = metrics.counter(
            "tessera_counter_changes_folded_total",
            help: "Changes of counts that were folded into totals."
        )
        failures = metrics.counter(
            "tessera_chore_failures_total",
            help: "Rounds of folding or sweeping that a shard refused."
        )
    }

    func start() {
        database.loop.spawn { await self.everyRound(Self.foldInterval) { await self.fold() } }
        database.loop.spawn { await self.sweep() }
        database.loop.spawn {
            await self.everyRound(Self.strandedInterval) { await self.endStrandedMoves() }
        }
        database.loop.spawn {
            await self.everyRound(Self.withdrawnInterval) { await self.forgetWithdrawn() }
        }
    }

    func stop() { isStopped = true }

    private func everyRound(_ interval: Duration, _ body: () async -> Void) async {
        while !isStopped {
            await body()
            // Only cancellation ends a sleep early, and nobody cancels these tasks.
            try? await database.loop.sleep(for: interval)
        }
    }

    /// The shards that this loop takes care of.
    private var mine: [ShardID] {
        database.shards.enumerated().filter { $0.offset % share.of == share.index }.map(\.element)
    }

    /// Shards at once, since one that does not answer must not keep the others' buckets waiting.
    private func endStrandedMoves() async {
        await withTaskGroup(of: Void.self) { group in
            for shard in mine {
                group.addTask {
                    await self.attempt("stranded moves", "\(shard)") {
                        try await self.strandedMoves.look(at: shard)
                    }
                }
            }
        }
    }

    private func forgetWithdrawn() async {
        for shard in mine where !isStopped {
            await attempt("withdrawn", "\(shard)") {
                try await WithdrawnSweep.sweep(shard, of: self.database)
            }
        }
    }

    private func fold() async {
        for shard in mine where !isStopped {
            await attempt("fold", "\(shard)") {
                var count = 0
                repeat {
                    count = try await self.folder.fold(on: shard)
                    self.folded.add(count)
                } while count == CounterFolder.batch && !self.isStopped
            }
        }
    }

    /// Goes around the buckets, from a place of its own so that workers do not walk in step.
    private func sweep() async {
        var place = Int.random(in: 0..<BucketID.count)
        await everyRound(Self.sweepInterval) {
            place = (place + 1) % BucketID.count
            let bucket = BucketID.all[place]
            await attempt("sweep", "\(bucket)") {
                try await self.sweepFeeds(bucket)
                try await self.sweepAccounts(bucket)
                try await self.database.write(
                    on: bucket,
                    [Idempotency.forgetting(bucket: bucket, limit: Self.forgetLimit)]
                )
            }
        }
    }

    private func attempt(
        _ chore: String,
        _ place: String,
        _ body: () async throws -> Void
    ) async {
        do {
            try await body()
        } catch {
            failures.add(1)
            log.debug(
                "chore put off",
                metadata: ["chore": "\(chore)", "place": "\(place)", "error": "\(error)"]
            )
        }
    }
}
