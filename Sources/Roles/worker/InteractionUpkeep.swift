import Database
import EventLoops
import Interactions
import Logging
import Metrics
import Objects
import Sharding

/// Keeps the interaction log: tables for the days to come, hours into the object store, old days away.
final class InteractionUpkeep: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    private static let interval = Duration.seconds(60)
    /// Hours that one round exports of one shard: a worker that was away for a day catches up in an hour.
    private static let hoursPerRound = 24

    private let database: Database
    private let share: (index: Int, of: Int)
    private let days: Int
    private let tables: InteractionTables
    private let export: InteractionExport?
    private let exported: Counter
    private let lost: Counter
    private let failures: Counter
    private let log: Logger
    private var isStopped = false

    /// Without an `export`, days are dropped unread.
    init(
        database: Database,
        share: (index: Int, of: Int),
        days: Int,
        export: InteractionExport?,
        metrics: MetricsRegistry,
        log: Logger
    ) {
        self.database = database
        self.share = share
        self.days = days
        self.export = export
        self.log = log
        tables = InteractionTables(database: database)
        exported = metrics.counter(
            "tessera_interaction_hours_exported_total",
            help: "Hours of shards whose interactions were brought into the object store."
        )
        lost = metrics.counter(
            "tessera_interaction_days_lost_total",
            help: "Days of shards that were dropped before all of their hours were exported."
        )
        failures = metrics.counter(
            "tessera_interaction_upkeep_failures_total",
            help: "Rounds of upkeep that a shard or the object store refused."
        )
    }

    func start() {
        database.loop.spawn {
            while !self.isStopped {
                await self.round()
                // Only cancellation ends a sleep early, and nobody cancels this task.
                try? await self.database.loop.sleep(for: Self.interval)
            }
        }
    }

    func stop() { isStopped = true }

    private func round() async {
        for (place, shard) in database.shards.enumerated()
        where place % share.of == share.index && !isStopped {
            do {
                try await look(after: shard)
            } catch {
                failures.add()
                log.notice(
                    "interactions not looked after",
                    metadata: ["shard": "\(shard)", "error": "\(error)"]
                )
            }
        }
    }

    private func look(after shard: ShardID) async throws {
        for day in try await tables.keep(days: days, exports: export != nil, on: shard) {
            log.info("interactions dropped", metadata: ["shard": "\(shard)", "day": "\(day.day)"])
            guard day.isLost else { continue }
            lost.add()
            log.error(
                "interactions dropped that were never exported",
                metadata: ["shard": "\(shard)", "day": "\(day.day)"]
            )
        }
        for _ in 0..<Self.hoursPerRound where !isStopped {
            guard let hour = try await export?.exportNext(of: shard) else { return }
            exported.add()
            log.info(
                "interactions exported",
                metadata: [
                    "object": "\(hour.object)", "rows": "\(hour.rows)", "bytes": "\(hour.bytes)",
                ]
            )
        }
    }
}
