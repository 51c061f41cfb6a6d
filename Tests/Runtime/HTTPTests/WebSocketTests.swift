import EventLoops
import Testing

@testable import HTTP

@Suite(.serialized)
struct WebSocketTests {
    /// Sends back what it gets.
    private final class Echo: WebSocketUser, @unchecked Sendable {
        // @unchecked: touched on its socket's loop only.
        private let socket: WebSocket
        private let ends: Left<[WebSocketCloseCode]>

        init(_ socket: WebSocket, _ ends: Left<[WebSocketCloseCode]>) {
            self.socket = socket
            self.ends = ends
        }

        func webSocketReceived(text: [UInt8]) { socket.send(.text(text)) }
        func webSocketReceived(binary: [UInt8]) { socket.send(.binary(binary)) }
        func webSocketClosed(_ code: WebSocketCloseCode) { ends.change { $0.append(code) } }
    }

    private static let opening =
        "GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
        + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"

    private let ends = Left<[WebSocketCloseCode]>([])

    private func server(_ limits: WebSocketLimits = WebSocketLimits()) async throws -> RunningServer
    {
        var limits = limits
        limits.closeTimeout = .milliseconds(200)
        let chosen = limits
        var http = HTTPLimits()
        // Timeouts are looked at more often where they are short.
        http.lingerTimeout = .milliseconds(200)
        return try await RunningServer(limits: http) { [ends] request in
            guard request.wantsWebSocket else { return .text("plain") }
            return try .webSocket(request, limits: chosen) { Echo($0, ends) }
        }
    }

    private func opened(_ running: RunningServer) -> RawClient {
        let client = RawClient(port: running.port)
        client.send(Self.opening + "\r\n")
        let answer = client.answer()
        #expect(answer?.status == 101)
        return client
    }

    @Test func `the opening is answered as RFC 6455 says`() async throws {
        let running = try await server()
        let client = RawClient(port: running.port)

        client.send(Self.opening + "\r\n")
        let answer = client.answer()

        #expect(answer?.status == 101)
        #expect(answer?.header("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        #expect(answer?.header("Connection") == "Upgrade")
        #expect(answer?.header("Upgrade") == "websocket")
        #expect(answer?.header("Content-Length") == nil)
        try await running.stop()
    }

    @Test(arguments: [
        ("Upgrade: websocket\r\nConnection: close\r\n", "13", "dGhlIHNhbXBsZSBub25jZQ==", 426),
        ("Upgrade: websocket\r\nConnection: Upgrade\r\n", "8", "dGhlIHNhbXBsZSBub25jZQ==", 426),
        ("Upgrade: websocket\r\nConnection: Upgrade\r\n", "13", "c2hvcnQ=", 400),
        ("Upgrade: websocket\r\nConnection: Upgrade\r\n", "13", "no base64", 400),
    ])
    func `a wrong opening is refused`(
        _ fields: String,
        _ version: String,
        _ key: String,
        _ status: Int
    ) async throws {
        let running = try await server()
        let client = RawClient(port: running.port)

        client.send(
            "GET / HTTP/1.1\r\nHost: a\r\n\(fields)Sec-WebSocket-Version: \(version)\r\n"
                + "Sec-WebSocket-Key: \(key)\r\n\r\n"
        )
        let answer = client.answer()

        #expect(answer?.status == status)
        if status == 426 { #expect(answer?.header("Upgrade") == "websocket") }
        try await running.stop()
    }

    @Test func `messages come back, also those that came with the opening`() async throws {
        let running = try await server()
        let client = RawClient(port: running.port)

        client.send(Array((Self.opening + "\r\n").utf8) + ClientFrame.text("early"))
        #expect(client.answer()?.status == 101)
        client.send(ClientFrame.bytes(0x01, [0x68]) + ClientFrame.bytes(0x89, [7]))
        client.send(ClientFrame.bytes(0x80, [0x69]))

        #expect(client.bytes(7) == [0x81, 5] + Array("early".utf8))
        #expect(client.bytes(3) == [0x8A, 1, 7])
        #expect(client.bytes(4) == [0x81, 2, 0x68, 0x69])
        try await running.stop()
    }

    @Test func `a close is answered with its code, and the connection ends`() async throws {
        let running = try await server()
        let client = opened(running)

        client.send(ClientFrame.close(3001))

        #expect(client.bytes(4) == [0x88, 2, 0x0B, 0xB9])
        #expect(client.isClosedByPeer())
        #expect(await eventually { ends.now == [3001] })
        try await running.stop()
    }

    @Test func `what breaks the protocol is answered with its code`() async throws {
        let running = try await server()
        let client = opened(running)

        client.send(ClientFrame.bytes(0x81, [0xFF]))
        let close = client.bytes(4)

        #expect(close?.first == 0x88)
        #expect(close.map { Array($0[2...]) } == [0x03, 0xEF])
        #expect(await eventually { ends.now == [.invalidText] })
        try await running.stop()
    }

    @Test func `a drain says 1001 to each client, and waits for their answers`() async throws {
        let running = try await server()
        let clients = (0..<3).map { _ in opened(running) }

        async let stopped: Void = running.stop(deadline: .seconds(5))
        for client in clients {
            #expect(client.bytes(4).map { Array($0[2...]) } == [0x03, 0xE9])
            client.send(ClientFrame.close(1001))
        }
        try await stopped

        #expect(ends.now == [.goingAway, .goingAway, .goingAway])
    }

    @Test func `who is silent is asked, and cut off when nothing comes back`() async throws {
        var limits = WebSocketLimits()
        limits.pingInterval = .milliseconds(200)
        limits.pongTimeout = .milliseconds(1_000)
        let running = try await server(limits)
        let polite = opened(running)
        let silent = opened(running)

        for _ in 0..<3 {
            #expect(polite.bytes(2) == [0x89, 0])
            polite.send(ClientFrame.bytes(0x8A))
        }
        #expect(silent.bytes(2) == [0x89, 0])

        #expect(silent.isClosedByPeer())
        #expect(await eventually { ends.now == [.abnormal] })
        try await running.stop()
    }

    @Test func `who does not read is cut off at the bound`() async throws {
        var limits = WebSocketLimits()
        limits.queueBytes = 10_000
        limits.messageBytes = 100_000
        let running = try await server(limits)
        let client = RawClient(port: running.port, receiveBuffer: 4_096)
        client.send(Self.opening + "\r\n")
        #expect(client.answer()?.status == 101)

        let large = ClientFrame.bytes(0x82, Array(repeating: 1, count: 90_000))
        for _ in 0..<200 where !client.send(large) { break }

        #expect(await eventually { ends.now == [.abnormal] })
        #expect(try await running.statistics.slowWebSockets == 1)
        try await running.stop()
    }

    @Test func `a request that opens no WebSocket is served on the same connection`() async throws {
        let running = try await server()
        let client = RawClient(port: running.port)

        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(client.answer()?.body == "plain")
        client.send(Self.opening + "\r\n")
        #expect(client.answer()?.status == 101)
        client.send(ClientFrame.text("x"))

        #expect(client.bytes(3) == [0x81, 1, 120])
        try await running.stop()
    }
}
