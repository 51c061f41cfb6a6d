import Synchronization

/// The instruments of a process.
///
/// Asking for an instrument takes a lock and is done at start; using it does not. Each call makes a
/// new cell for the calling loop; cells with the same name and labels are added up when the text is
/// rendered, so that the labels need not tell the loops apart.
package final class MetricsRegistry: Sendable {
    /// How many cells one name may have: labels from a request must never make new ones without end.
    package static let cellsPerName = 4_096

    package typealias Labels = [(name: String, value: String)]

    enum Kind: String {
        case counter, gauge, histogram
    }

    enum Cell: Sendable {
        case counter(Counter)
        case gauge(Gauge)
        case read(@Sendable () -> Double)
        case histogram(Histogram)
    }

    struct Family: Sendable {
        let kind: Kind
        let help: String
        /// Rendered labels beside each cell, in the order of the calls.
        var cells: [(labels: String, cell: Cell)] = []
    }

    private let families = Mutex<[String: Family]>([:])

    package init() {}

    /// A counter; its name ends in `_total`.
    package func counter(_ name: String, help: String, labels: Labels = []) -> Counter {
        precondition(name.hasSuffix("_total"), "\(name): a counter's name ends in _total")
        let counter = Counter()
        add(.counter(counter), .counter, name, help, labels)
        return counter
    }

    package func gauge(_ name: String, help: String, labels: Labels = []) -> Gauge {
        let gauge = Gauge()
        add(.gauge(gauge), .gauge, name, help, labels)
        return gauge
    }

    /// A gauge that is read from any thread when the text is rendered.
    package func gauge(
        _ name: String,
        help: String,
        labels: Labels = [],
        read: @escaping @Sendable () -> Double
    ) {
        add(.read(read), .gauge, name, help, labels)
    }

    /// A counter kept elsewhere, read from any thread when the text is rendered.
    package func counter(
        _ name: String,
        help: String,
        labels: Labels = [],
        read: @escaping @Sendable () -> Double
    ) {
        precondition(name.hasSuffix("_total"), "\(name): a counter's name ends in _total")
        add(.read(read), .counter, name, help, labels)
    }

    package func histogram(
        _ name: String,
        help: String,
        labels: Labels = [],
        bounds: [Double] = Histogram.durations
    ) -> Histogram {
        let histogram = Histogram(bounds: bounds)
        add(.histogram(histogram), .histogram, name, help, labels)
        return histogram
    }

    private func add(
        _ cell: Cell,
        _ kind: Kind,
        _ name: String,
        _ help: String,
        _ labels: Labels
    ) {
        precondition(MetricsText.isName(name), "\(name) is no metric name")
        precondition(labels.allSatisfy { MetricsText.isName($0.name) }, "\(name): label name")
        let rendered = MetricsText.labels(labels)
        families.withLock { families in
            var family = families[name] ?? Family(kind: kind, help: help)
            precondition(family.kind == kind, "\(name) is a \(family.kind.rawValue) already")
            precondition(family.cells.count < Self.cellsPerName, "\(name) has too many cells")
            family.cells.append((rendered, cell))
            families[name] = family
        }
    }

    /// The Prometheus text format, families and series in order of their names.
    package func render() -> String {
        let snapshot = families.withLock { $0 }
        var text = ""
        for (name, family) in snapshot.sorted(by: { $0.key < $1.key }) {
            MetricsText.write(name, family, to: &text)
        }
        return text
    }
}
