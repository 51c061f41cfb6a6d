import EventLoops
package import Metrics

/// What one client has seen, as metrics: copied once a second on the client's loop, which alone may read it.
package final class CacheMetrics: @unchecked Sendable {
    // @unchecked: touched on the client's loop only.

    private static let interval = Duration.seconds(1)
    private static let ages = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 2, 5]

    private struct Cells {
        let hits: Counter
        let misses: Counter
        let refused: Counter
        let copied: Counter
        let ejections: Counter
        let down: Gauge
        var before = CacheStatistics()
    }

    private let client: MemcachedClient
    private let held: Counter
    private var heldBefore = 0
    private var cells: [CachePool: Cells] = [:]

    private init(client: MemcachedClient, registry: MetricsRegistry) {
        self.client = client
        held = registry.counter(
            "tessera_cache_held_reads_total",
            help: "Keys answered from copies of very hot values in the process."
        )
        let ages = registry.histogram(
            "tessera_cache_held_age_seconds",
            help: "Age of copies of very hot values in the process when they were answered.",
            bounds: Self.ages
        )
        client.copies.observe = { ages.record(Double($0) / 1_000) }
        for pool in CachePool.allCases {
            let label = (name: "pool", value: pool.rawValue)
            func reads(_ result: String) -> Counter {
                registry.counter(
                    "tessera_cache_reads_total",
                    help: "Keys asked of the cache, by pool and by whether they were there.",
                    labels: [label, (name: "result", value: result)]
                )
            }
            cells[pool] = Cells(
                hits: reads("hit"),
                misses: reads("miss"),
                refused: registry.counter(
                    "tessera_cache_refused_total",
                    help:
                        "Commands answered without their node: it was down or had too many waiting.",
                    labels: [label]
                ),
                copied: registry.counter(
                    "tessera_cache_copied_total",
                    help: "Values copied from a node that their slot is leaving.",
                    labels: [label]
                ),
                ejections: registry.counter(
                    "tessera_cache_ejections_total",
                    help:
                        "How often a loop left a node alone since it did not answer, and took to the gutter.",
                    labels: [label]
                ),
                down: registry.gauge(
                    "tessera_cache_nodes_down",
                    help: "Nodes of a pool that do not answer a loop at the moment.",
                    labels: [label, (name: "loop", value: String(client.loop.index))]
                )
            )
        }
    }

    /// Registers the `tessera_cache_…` families of `client` and keeps them up to date. Called on its loop.
    package static func register(_ client: MemcachedClient, in registry: MetricsRegistry) {
        CacheMetrics(client: client, registry: registry).sample()
    }

    private func sample() {
        for pool in CachePool.allCases {
            guard var cells = cells[pool] else { continue }
            let now = client.statistics(of: pool)
            cells.hits.add(now.hits - cells.before.hits)
            cells.misses.add(now.misses - cells.before.misses)
            cells.refused.add(now.refused - cells.before.refused)
            cells.copied.add(now.copied - cells.before.copied)
            cells.ejections.add(now.ejections - cells.before.ejections)
            cells.down.set(Double(client.nodesDown(in: pool)))
            cells.before = now
            self.cells[pool] = cells
        }
        held.add(client.copies.hits - heldBefore)
        heldBefore = client.copies.hits
        client.loop.after(Self.interval) { self.sample() }
    }
}
