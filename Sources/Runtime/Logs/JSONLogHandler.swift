import Glibc
import JSON
package import Logging

/// Writes one JSON object a line: `time`, `level`, `logger`, `message` and the metadata beside them.
///
/// A line is handed to ``LogSink``, which never blocks the caller.
package struct JSONLogHandler: LogHandler {
    package var logLevel: Logger.Level
    package var metadata: Logger.Metadata = [:]
    package var metadataProvider: Logger.MetadataProvider?

    private let label: String
    private let sink: LogSink

    package init(label: String, sink: LogSink, level: Logger.Level = .info) {
        self.label = label
        self.sink = sink
        logLevel = level
        metadataProvider = LogContext.provider
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var fields = metadata
        if let provided = metadataProvider?.get() {
            fields.merge(provided) { _, new in new }
        }
        if let own = event.metadata {
            fields.merge(own) { _, new in new }
        }
        if let error = event.error {
            fields["error"] = "\(error)"
        }
        sink.write(line(event, fields))
    }

    private func line(_ event: LogEvent, _ fields: Logger.Metadata) -> [UInt8] {
        var json = JSONWriter()
        json.object { json in
            json.field("time", timestamp())
            json.field("level", event.level.rawValue)
            json.field("logger", label)
            json.field("message", cut(event.message.description))
            for (key, value) in fields.sorted(by: { $0.key < $1.key }) {
                json.key(Self.taken.contains(key) ? "_\(key)" : key)
                write(value, to: &json, depth: 0)
            }
        }
        return json.bytes + [UInt8(ascii: "\n")]
    }

    /// Names that the line itself uses.
    private static let taken: Set<String> = ["time", "level", "logger", "message"]

    /// Metadata deeper than this is written as text.
    private static let depthLimit = 4

    /// Longer texts are cut, so that one line cannot fill the sink.
    private static let textLimit = 8_192

    private func cut(_ text: String) -> String {
        guard text.utf8.count > Self.textLimit else { return text }
        return String(decoding: text.utf8.prefix(Self.textLimit), as: UTF8.self) + "…"
    }

    private func write(_ value: Logger.MetadataValue, to json: inout JSONWriter, depth: Int) {
        switch value {
        case .dictionary(let members) where depth < Self.depthLimit:
            json.object { json in
                for (key, value) in members.sorted(by: { $0.key < $1.key }) {
                    json.key(key)
                    write(value, to: &json, depth: depth + 1)
                }
            }
        case .array(let elements) where depth < Self.depthLimit:
            json.array { json in
                for element in elements { write(element, to: &json, depth: depth + 1) }
            }
        default: json.string(cut(value.description))
        }
    }

    private func timestamp() -> String {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        var parts = tm()
        gmtime_r(&now.tv_sec, &parts)
        var text = [CChar](repeating: 0, count: 32)
        let count = strftime(&text, text.count, "%Y-%m-%dT%H:%M:%S", &parts)
        let milliseconds = String(now.tv_nsec / 1_000_000 + 1_000).dropFirst()
        let seconds = String(decoding: text[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self)
        return "\(seconds).\(milliseconds)Z"
    }
}

/// What every line of the current request carries.
package enum LogContext {
    @TaskLocal package static var requestID: String?

    static let provider = Logger.MetadataProvider {
        guard let requestID else { return [:] }
        return ["request_id": .string(requestID)]
    }
}
