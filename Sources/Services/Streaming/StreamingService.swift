import Contracts
import HTTP
import ServiceKit
import Sharding

/// Events as they happen, as the Mastodon API has them: by WebSocket, and as Server-Sent Events. Read this first.
///
/// ``StreamHub`` brings a user's own events, in an order that a client can resume from: it names the last that it
/// saw (`Last-Event-ID`, or `last_event_id` where a header cannot be set) and gets what came after it, none twice.
/// If so much has come since that it is no longer kept, an event `tessera.gap` says so first. Public streams are told
/// what happens while one listens, and no more.
package struct StreamingService: Service {
    package static let schema = SchemaRequirement(module: "Events", number: 1)

    private let hub: StreamHub
    private let sessions: any SessionsClient

    package init(hub: StreamHub, sessions: any SessionsClient) {
        self.hub = hub
        self.sessions = sessions
    }

    private static let token = Parameter(
        "access_token",
        .string,
        "The token, where no header can be set."
    )
    private static let place = Parameter(
        "last_event_id",
        .string,
        "The `seq` of the last event seen: goes on after it."
    )
    private static let onlyMedia = Parameter("only_media", .boolean, "Only posts with media.")
    private static let tag = Parameter("tag", .string, "The hashtag of a hashtag stream.")

    package var endpoints: [Endpoint] {
        [
            Endpoint(
                .get,
                "/api/v1/streaming/health",
                operationID: "getStreamingHealth",
                summary: "Whether streaming is there.",
                tag: "streaming",
                access: .open,
                output: .content("text/plain")
            ) { _ in .text("OK") },
            Endpoint(
                .get,
                "/api/v1/streaming",
                operationID: "openStream",
                summary: "Opens a WebSocket, on which streams are subscribed to.",
                tag: "streaming",
                access: .open,
                inputs: [
                    Parameter("stream", .string, "The first stream to listen to."),
                    Self.tag, Self.token, Self.place,
                ],
                output: .nothing,
                success: 101
            ) { try await openSocket($0) },
        ]
            + [
                events("user", "user", "All that concerns you."),
                events("user/notification", "user:notification", "Your notifications."),
                events("public", "public", "Public posts.", [Self.onlyMedia]),
                events("public/local", "public:local", "The same.", [Self.onlyMedia]),
                events("hashtag", "hashtag", "Public posts with a hashtag.", [Self.tag]),
                events("hashtag/local", "hashtag:local", "The same.", [Self.tag]),
            ]
    }

    private func events(
        _ path: String,
        _ name: String,
        _ summary: String,
        _ inputs: [Parameter] = []
    ) -> Endpoint {
        let words = name.split(separator: ":").map { $0.prefix(1).uppercased() + $0.dropFirst() }
        return Endpoint(
            .get,
            "/api/v1/streaming/\(path)",
            operationID: "stream\(words.joined())",
            summary: summary + " As Server-Sent Events.",
            tag: "streaming",
            access: .open,
            inputs: inputs + [Self.token, Self.place],
            output: .content("text/event-stream")
        ) { try await stream($0, name) }
    }

    // MARK: Who asks

    private struct Listening {
        let user: UserID
        let authentication: Authentication
        /// The subprotocol by which the token came, which must be answered.
        let subprotocol: String?
    }

    /// The token may be in the header, in the query, or where browsers can put it: in the name of a subprotocol.
    private func admit(_ call: Call) async throws -> Listening {
        let offered = call.request.webSocketProtocols.first
        let token =
            call.request.header("Authorization").flatMap(Self.bearer)
            ?? call.input.string("access_token") ?? offered
        guard let token, let authentication = try await sessions.verify(token),
            let user = authentication.user
        else { throw ServiceError.unauthorized }
        return Listening(user: user, authentication: authentication, subprotocol: offered)
    }

    private static func bearer(_ header: String) -> String? {
        let words = header.split(separator: " ")
        guard words.count == 2, words[0].lowercased() == "bearer" else { return nil }
        return String(words[1])
    }

    private static func place(_ call: Call) throws(ServiceError) -> Int64? {
        let text = call.request.header("Last-Event-ID") ?? call.input.string("last_event_id")
        guard let text, !text.isEmpty else { return nil }
        guard let place = Int64(text), place >= 0 else {
            throw .invalid("last_event_id is not an id")
        }
        return place
    }

    // MARK: WebSockets

    private func openSocket(_ call: Call) async throws -> Response {
        guard call.request.wantsWebSocket else {
            throw HTTPError(
                426,
                "This address is for WebSockets.",
                headers: ["Upgrade": "websocket", "Connection": "Upgrade"]
            )
        }
        let listening = try await admit(call)
        let place = try Self.place(call)
        var first: StreamName?
        if let name = call.input.string("stream"), !name.isEmpty {
            guard let stream = StreamName(name, tag: call.input.string("tag")) else {
                throw ServiceError(.badRequest, "Unknown stream type")
            }
            guard listening.authentication.scopes.covers(stream.scope) else {
                throw ServiceError.outsideScopes
            }
            first = stream
        }
        let hub = hub, stream = first
        return try .webSocket(call.request, subprotocol: listening.subprotocol) { socket in
            let listener = SocketListener(
                socket,
                hub: hub,
                user: listening.user,
                session: listening.authentication.session,
                scopes: listening.authentication.scopes
            )
            if let stream { listener.subscribe(to: stream, after: place) }
            return listener
        }
    }

    // MARK: Server-Sent Events

    private func stream(_ call: Call, _ name: String) async throws -> Response {
        let listening = try await admit(call)
        let place = try Self.place(call)
        let onlyMedia = name.hasPrefix("public") && call.input.bool("only_media") == true
        guard
            let stream = StreamName(
                onlyMedia ? name + ":media" : name,
                tag: call.input.string("tag")
            )
        else { throw ServiceError(.badRequest, "Missing tag name parameter") }
        guard listening.authentication.scopes.covers(stream.scope) else {
            throw ServiceError.outsideScopes
        }
        let events = EventStream(
            hub: hub,
            user: listening.user,
            session: listening.authentication.session
        )
        var response = Response(
            status: 200,
            headers: ["Content-Type": "text/event-stream", "Cache-Control": "no-store"]
        )
        response.body = .stream(length: nil) {
            try await events.run($0, stream, after: place)
        }
        return response
    }
}
