internal import EventLoops
package import Metrics
internal import Sharding

/// What one database has seen of buckets that move, as metrics: copied once a second on its loop, which alone may read it.
package final class DatabaseMetrics: @unchecked Sendable {
    // @unchecked: touched on the database's loop only.

    private static let interval = Duration.seconds(1)

    private let database: Database
    private let refusals: Counter
    private let misreads: Counter
    private let held: Counter
    private let maps: Counter
    private let holding: Gauge
    private let generation: Gauge
    private var before = Database.Statistics()

    private init(database: Database, registry: MetricsRegistry) {
        self.database = database
        let loop = [(name: "loop", value: String(database.loop.index))]
        refusals = registry.counter(
            "tessera_database_refusals_total",
            help:
                "Writes that a shard refused, since it does not own the bucket; they go to its owner."
        )
        misreads = registry.counter(
            "tessera_database_misreads_total",
            help:
                "Answers that were thrown away, since the shard did not own the bucket; read again at its owner."
        )
        held = registry.counter(
            "tessera_database_held_requests_total",
            help: "Requests that have waited for a bucket between two owners."
        )
        maps = registry.counter(
            "tessera_database_maps_total",
            help: "Newer maps that a loop has taken."
        )
        holding = registry.gauge(
            "tessera_database_held_requests",
            help: "Requests that wait for a bucket between two owners now.",
            labels: loop
        )
        generation = registry.gauge(
            "tessera_database_map_generation",
            help: "Generation of the map that a loop uses.",
            labels: loop
        )
    }

    /// Registers the `tessera_database_…` families of `database` and keeps them up to date. Called on its loop.
    package static func register(_ database: Database, in registry: MetricsRegistry) {
        DatabaseMetrics(database: database, registry: registry).sample()
    }

    private func sample() {
        let now = database.statistics
        refusals.add(now.refusals - before.refusals)
        misreads.add(now.misreads - before.misreads)
        held.add(now.held - before.held)
        maps.add(now.mapsAdopted - before.mapsAdopted)
        holding.set(Double(database.heldCount))
        generation.set(Double(database.map.generation))
        before = now
        database.loop.after(Self.interval) { self.sample() }
    }
}
