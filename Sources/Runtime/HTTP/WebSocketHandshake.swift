import Crypto

/// The opening of a WebSocket (RFC 6455, section 4.2).
enum WebSocketHandshake {
    private static let salt = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

    /// What `Sec-WebSocket-Accept` must say; throws how a request is refused that opens no WebSocket.
    static func accept(_ request: Request) throws(HTTPError) -> String {
        guard request.method == .get, !request.head.isHTTP10, !request.head.hasBody,
            names(request, "Upgrade", "websocket"), names(request, "Connection", "upgrade")
        else {
            throw HTTPError(
                426,
                "This address is for WebSockets.",
                headers: ["Upgrade": "websocket", "Connection": "Upgrade"]
            )
        }
        guard request.header("Sec-WebSocket-Version") == "13" else {
            throw HTTPError(
                426,
                "The only WebSocket version is 13.",
                headers: ["Upgrade": "websocket", "Sec-WebSocket-Version": "13"]
            )
        }
        let keys = request.headers.all("Sec-WebSocket-Key")
        guard keys.count == 1, Base64.decode(keys[0])?.count == 16 else {
            throw HTTPError(400, "Sec-WebSocket-Key is not 16 bytes in base64.")
        }
        return Base64.encode(Digest.sha1((keys[0] + salt).utf8))
    }

    /// Whether a list of words in a header has this one.
    private static func names(_ request: Request, _ header: String, _ word: String) -> Bool {
        request.headers.all(header).contains { list in
            list.split(separator: ",").contains {
                String($0).trimmingSpaces.equalsIgnoringCase(word)
            }
        }
    }
}

extension Request {
    /// The subprotocols that a client offers for a WebSocket, in its order.
    package var webSocketProtocols: [String] {
        headers.all("Sec-WebSocket-Protocol")
            .flatMap { $0.split(separator: ",").map { String($0).trimmingSpaces } }
            .filter { !$0.isEmpty }
    }

    /// Whether the client asks for a WebSocket, rightly or not.
    package var wantsWebSocket: Bool {
        header("Upgrade").map { $0.equalsIgnoringCase("websocket") } ?? false
    }
}

extension Response {
    /// Turns the connection into a WebSocket; `begin` gives whoever is told what comes on it.
    ///
    /// Throws an ``HTTPError`` for a request that opens none. `subprotocol` must be one that the client offered.
    package static func webSocket(
        _ request: Request,
        subprotocol: String? = nil,
        limits: WebSocketLimits = WebSocketLimits(),
        begin: @escaping @Sendable (WebSocket) -> any WebSocketUser
    ) throws(HTTPError) -> Response {
        var headers: Headers = [
            "Upgrade": "websocket",
            "Sec-WebSocket-Accept": try WebSocketHandshake.accept(request),
        ]
        if let subprotocol { headers.add("Sec-WebSocket-Protocol", subprotocol) }
        return Response(
            status: 101,
            headers: headers,
            body: .webSocket(WebSocketUpgrade(limits: limits, begin: begin))
        )
    }
}

/// What becomes of a connection after an answer with 101.
package struct WebSocketUpgrade: Sendable {
    let limits: WebSocketLimits
    let begin: @Sendable (WebSocket) -> any WebSocketUser
}

extension String {
    fileprivate var trimmingSpaces: String {
        var copy = self
        return copy.withUTF8 { $0.trimmed.string }
    }
}
