package import Database
import Interactions
package import Logging
package import Metrics
package import ServiceKit

/// What ranking learns from: so far, what clients say their users have looked at. Read this first.
///
/// What users are shown is recorded by whoever shows it, in the ``InteractionLog``; this service takes the other half,
/// and counts it as views of the posts (``ViewCounts``).
package struct RankingService: Service {
    package static let schema = SchemaRequirement(module: "Interactions", number: 1)

    private let routes: InteractionRoutes
    private let views: ViewCounts

    package init(
        database: Database,
        interactions: InteractionLog,
        metrics: MetricsRegistry,
        log: Logger
    ) {
        views = ViewCounts(database: database, metrics: metrics, log: log)
        routes = InteractionRoutes(log: interactions, views: views, loop: database.loop)
    }

    package var endpoints: [Endpoint] { [routes.endpoint] }

    /// Writes the views that have been counted; ends after `deadline`, whatever is left.
    package func drain(deadline: Duration) async { await views.drain(deadline: deadline) }
}
