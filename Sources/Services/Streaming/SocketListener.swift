import Contracts
import EventLoops
import HTTP
import JSON
import Sharding

/// A client that listens by a WebSocket, to any number of streams.
final class SocketListener: StreamListener, WebSocketUser, @unchecked Sendable {
    // @unchecked: touched on its socket's loop only.
    private let socket: WebSocket
    private let hub: StreamHub
    private let scopes: Scopes

    init(_ socket: WebSocket, hub: StreamHub, user: UserID, session: SessionID?, scopes: Scopes) {
        self.socket = socket
        self.hub = hub
        self.scopes = scopes
        super.init(user: user, session: session)
    }

    func subscribe(to stream: StreamName, after place: Int64?) {
        guard scopes.covers(stream.scope) else {
            return complain("This stream is outside the authorized scopes", status: 403)
        }
        socket.loop.spawn {
            do {
                _ = try await self.hub.listen(self, to: stream, after: place)
                if !self.socket.isOpen { self.hub.leave(self) }
            } catch {
                // The shard of the user does not answer: the client comes again.
                self.socket.close(.tryLater, reason: "the stream cannot be read now")
            }
        }
    }

    private func complain(_ message: String, status: Int) {
        var json = JSONWriter()
        json.object { json in
            json.field("error", message)
            json.field("status", status)
        }
        socket.send(.text(json.bytes))
    }

    // MARK: What the client says

    func webSocketReceived(text: [UInt8]) {
        guard let json = try? JSONReader.parse(text), json.object != nil else {
            // What the parser found wrong is of no use to a client that sends no JSON at all.
            return complain("Malformed message", status: 400)
        }
        let type = json["type"]?.string
        guard type == "subscribe" || type == "unsubscribe" else { return }
        guard let name = json["stream"]?.string,
            let stream = StreamName(name, tag: json["tag"]?.string)
        else { return complain("Unknown stream type", status: 400) }
        if type == "subscribe" {
            subscribe(to: stream, after: json["last_event_id"]?.string.flatMap { Int64($0) })
        } else {
            hub.leave(self, stream)
        }
    }

    func webSocketReceived(binary: [UInt8]) {
        socket.close(.unsupportedData, reason: "messages are text")
    }

    func webSocketClosed(_ code: WebSocketCloseCode) { hub.leave(self) }

    // MARK: What the client is told

    override func deliver(_ message: StreamMessage, of streams: [StreamName]) {
        for stream in streams { socket.send(message.frame(of: stream)) }
    }

    override func skipped(to place: Int64) {
        for stream in streams where stream.isPersonal { socket.send(Self.gap(place, stream)) }
    }

    private static func gap(_ place: Int64, _ stream: StreamName) -> WebSocketFrame {
        StreamMessage(event: "tessera.gap", payload: Array(String(place).utf8), seq: place)
            .frame(of: stream)
    }

    override func revoke() {
        hub.leave(self)
        socket.close(.refused, reason: "the access token is no longer valid")
    }
}
