import HTTP
import JSON

/// One event, as clients are told of it.
struct StreamMessage: Sendable {
    let event: String
    /// An entity's JSON, or an id.
    let payload: [UInt8]
    /// The place in the user's stream, from which a client can go on; nil where there is none.
    let seq: Int64?

    init(event: String, payload: [UInt8], seq: Int64? = nil) {
        self.event = event
        self.payload = payload
        self.seq = seq
    }

    /// The payload is JSON inside of a string, as Mastodon has it.
    func frame(of stream: StreamName) -> WebSocketFrame {
        var json = JSONWriter(reserving: payload.count + payload.count / 4 + 128)
        json.object { json in
            json.field("stream", stream.parts)
            json.field("event", event)
            json.key("payload")
            payload.withUnsafeBufferPointer { json.string(utf8: $0) }
            if let seq { json.field("seq", String(seq)) }
        }
        return .text(json.bytes)
    }

    /// As text of an event stream. JSON has no line ends of its own.
    var text: [UInt8] {
        var bytes = Array("event: \(event)\n".utf8)
        if let seq { bytes += "id: \(seq)\n".utf8 }
        bytes += "data: ".utf8
        bytes += payload
        bytes += "\n\n".utf8
        return bytes
    }
}
