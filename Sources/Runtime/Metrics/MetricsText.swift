/// The Prometheus text format.
enum MetricsText {
    static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    static func isName(_ name: String) -> Bool {
        guard let first = name.utf8.first, !isDigit(first) else { return false }
        return name.utf8.allSatisfy { isDigit($0) || isLetter($0) || $0 == UInt8(ascii: "_") }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7A
    }

    /// `shard="s1",method="GET"`, sorted by name.
    static func labels(_ labels: MetricsRegistry.Labels) -> String {
        labels.sorted { $0.name < $1.name }
            .map { "\($0.name)=\"\(escaped($0.value, quotes: true))\"" }
            .joined(separator: ",")
    }

    private static func escaped(_ text: String, quotes: Bool) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\"" where quotes: result += "\\\""
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    static func write(_ name: String, _ family: MetricsRegistry.Family, to text: inout String) {
        text += "# HELP \(name) \(escaped(family.help, quotes: false))\n"
        text += "# TYPE \(name) \(family.kind.rawValue)\n"
        let series = Dictionary(grouping: family.cells, by: \.labels)
        for (labels, cells) in series.sorted(by: { $0.key < $1.key }) {
            if family.kind == .histogram {
                writeHistogram(name, labels, cells.map(\.cell), to: &text)
            } else {
                let sum = cells.reduce(0) { $0 + value(of: $1.cell) }
                writeSample(name, labels, sum, to: &text)
            }
        }
    }

    private static func value(of cell: MetricsRegistry.Cell) -> Double {
        switch cell {
        case .counter(let counter): counter.value
        case .gauge(let gauge): gauge.value
        case .read(let read): read()
        case .histogram(let histogram): histogram.sum
        }
    }

    private static func writeHistogram(
        _ name: String,
        _ labels: String,
        _ cells: [MetricsRegistry.Cell],
        to text: inout String
    ) {
        var bounds: [Double] = []
        var counts: [Double] = []
        var sum = 0.0
        for case .histogram(let histogram) in cells {
            if bounds.isEmpty {
                bounds = histogram.bounds
                counts = histogram.counts
            } else {
                precondition(bounds == histogram.bounds, "\(name): one name, one set of bounds")
                counts = zip(counts, histogram.counts).map { $0 + $1 }
            }
            sum += histogram.sum
        }
        let comma = labels.isEmpty ? "" : ","
        var running = 0.0
        for (bound, count) in zip(bounds, counts) {
            running += count
            let edge = "\(labels)\(comma)le=\"\(number(bound))\""
            writeSample("\(name)_bucket", edge, running, to: &text)
        }
        running += counts.last ?? 0
        writeSample("\(name)_bucket", "\(labels)\(comma)le=\"+Inf\"", running, to: &text)
        writeSample("\(name)_sum", labels, sum, to: &text)
        writeSample("\(name)_count", labels, running, to: &text)
    }

    private static func writeSample(
        _ name: String,
        _ labels: String,
        _ value: Double,
        to text: inout String
    ) {
        text += labels.isEmpty ? name : "\(name){\(labels)}"
        text += " \(number(value))\n"
    }

    private static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        if let whole = Int64(exactly: value) { return String(whole) }
        return value.description
    }
}

extension MetricsRegistry {
    /// The `Content-Type` of ``render()``.
    package static var contentType: String { MetricsText.contentType }
}
