import HTTP
import JSON
import Logs
import Metrics
import Sharding

/// Counts, times and logs the answers of one loop.
final class ServiceTelemetry: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    private struct Instruments {
        let operation: String
        let duration: Histogram
        /// The few statuses that an operation has, found by looking through them.
        var byStatus: [(status: Int, counter: Counter)] = []
    }

    private let metrics: MetricsRegistry
    private let access: AccessLog?
    /// In the order of the endpoints, and one more.
    private var instruments: [Instruments] = []
    /// For what reached no endpoint.
    private let others: Int

    init(_ endpoints: [Endpoint], metrics: MetricsRegistry, access: AccessLog?) {
        self.metrics = metrics
        self.access = access
        others = endpoints.count
        for endpoint in endpoints { add(endpoint.operationID) }
        add("none")
    }

    private func add(_ operation: String) {
        let duration = metrics.histogram(
            "http_request_duration_seconds",
            help: "Time from a request's end to its answer's end.",
            labels: [("operation", operation)]
        )
        instruments.append(Instruments(operation: operation, duration: duration))
    }

    func finished(_ request: Request?, _ status: Status, _ duration: Duration) {
        let index = request?.operation ?? others
        instruments[index].duration.record(duration)
        counter(index, status.code).add()
        access?.write(request, status, duration, operation: instruments[index].operation)
    }

    private func counter(_ index: Int, _ status: Int) -> Counter {
        if let known = instruments[index].byStatus.first(where: { $0.status == status }) {
            return known.counter
        }
        let counter = metrics.counter(
            "http_requests_total",
            help: "Answered requests.",
            labels: [
                ("operation", instruments[index].operation), ("status", String(status)),
            ]
        )
        instruments[index].byStatus.append((status, counter))
        return counter
    }
}

/// One JSON line for each answered request.
package struct AccessLog: Sendable {
    private let sink: LogSink

    package init(sink: LogSink) {
        self.sink = sink
    }

    /// Queries are left out: they may carry what people search for.
    func write(_ request: Request?, _ status: Status, _ duration: Duration, operation: String) {
        var json = JSONWriter(reserving: 384)
        json.object { json in
            json.field("time", Timestamp.now.iso8601)
            json.field("level", "info")
            json.field("logger", "access")
            json.field("message", "request")
            if let request {
                json.field("method", request.method.rawValue)
                json.field("path", String(request.path.prefix(512)))
                json.field("request_id", request.id)
                json.field("traceparent", request.traceparent)
                json.field("remote", request.remoteAddress)
            }
            json.field("operation", operation)
            json.field("status", status.code)
            json.field("duration_ms", Self.milliseconds(duration))
        }
        sink.write(json.bytes + [UInt8(ascii: "\n")])
    }

    private static func milliseconds(_ duration: Duration) -> Double {
        let (seconds, attoseconds) = duration.components
        let microseconds = seconds * 1_000_000 + attoseconds / 1_000_000_000_000
        return Double(microseconds) / 1_000
    }
}
