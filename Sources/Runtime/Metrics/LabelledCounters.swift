/// Counters of one name that differ in labels known only at run time, such as an answer's status.
///
/// Belongs to one loop. Past ``limit`` different labels the rest is counted under `other`.
package final class LabelledCounters: @unchecked Sendable {
    // @unchecked: touched on the loop that made it only.

    /// How many different label values one loop keeps.
    package static let limit = 256

    private let registry: MetricsRegistry
    private let name: String
    private let help: String
    private let labelNames: [String]
    private var counters: [[String]: Counter] = [:]

    package init(_ registry: MetricsRegistry, _ name: String, help: String, labels: [String]) {
        self.registry = registry
        self.name = name
        self.help = help
        labelNames = labels
    }

    /// The counter for these label values; keep it where the values are known beforehand.
    package func counter(_ values: [String]) -> Counter {
        precondition(values.count == labelNames.count)
        if let known = counters[values] { return known }
        let overflow = Array(repeating: "other", count: values.count)
        let values = counters.count < Self.limit ? values : overflow
        if let known = counters[values] { return known }
        let counter = registry.counter(
            name,
            help: help,
            labels: Array(zip(labelNames, values)).map { (name: $0.0, value: $0.1) }
        )
        counters[values] = counter
        return counter
    }
}
