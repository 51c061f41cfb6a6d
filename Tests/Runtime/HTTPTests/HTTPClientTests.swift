import EventLoops
import HTTP
import Testing

struct HTTPClientTests {
    /// A server and a client on the server's loop.
    private func with<T: Sendable>(
        limits: HTTPClientLimits = HTTPClientLimits(),
        serverLimits: HTTPLimits = HTTPLimits(),
        handler: @escaping Handler,
        _ body: @escaping @Sendable (HTTPClient, Int) async throws -> T
    ) async throws -> T {
        let running = try await RunningServer(limits: serverLimits, handler: handler)
        let result = try await running.loop.run {
            let client = HTTPClient(loop: running.loop, limits: limits)
            defer { client.close() }
            return try await body(client, running.port)
        }
        try await running.stop()
        return result
    }

    @Test func `requests one after the other share a connection`() async throws {
        let answers = try await with(handler: { request in
            let body = try await request.body.collect(upTo: 1_000)
            return Response(headers: ["X-Peer": "\(body.count)"], body: .bytes(body))
        }) { client, port in
            var answers: [String] = []
            for index in 0..<20 {
                let response = try await client.send(
                    ClientRequest(
                        .post,
                        host: "127.0.0.1",
                        port: port,
                        target: "/",
                        body: Array("body \(index)".utf8)
                    ),
                    timeout: .seconds(5)
                )
                let body = try await response.body.collect(upTo: 100)
                answers.append(String(decoding: body, as: UTF8.self))
            }
            return answers
        }

        #expect(answers == (0..<20).map { "body \($0)" })
    }

    @Test func `an endless stream of lines is read as it comes, and a cancelled reader closes it`()
        async throws
    {
        let ended = Left(false)
        let count = try await with(handler: { request in
            Response(
                body: .stream(length: nil) { writer in
                    defer { ended.change { $0 = true } }
                    while true {
                        try await writer.write("{\"event\":1}\n")
                        try await request.loop.sleep(for: .milliseconds(2))
                    }
                }
            )
        }) { client, port in
            let lines = Left(0)
            let reader = client.loop.spawnTask {
                do {
                    let request = ClientRequest(.get, url: "http://127.0.0.1:\(port)/watch")!
                    let response = try await client.send(request, timeout: .seconds(5))
                    for try await piece in response.body {
                        lines.change { $0 += piece.count { $0 == 10 } }
                    }
                } catch {
                    lines.change { $0 += 1_000 }
                }
            }
            while lines.now < 10 { try await client.loop.sleep(for: .milliseconds(5)) }
            reader.cancel()
            await reader.value
            return lines.now
        }

        #expect(count >= 1_010)
        #expect(await eventually { ended.now })
    }

    @Test
    func `a kept connection that the server closed is retried once, for an idempotent request`()
        async throws
    {
        var serverLimits = HTTPLimits()
        serverLimits.idleTimeout = .milliseconds(100)
        let outcome = try await with(
            serverLimits: serverLimits,
            handler: { request in .text(request.path) }
        ) { client, port in
            var bodies: [String] = []
            for path in ["/1", "/2"] {
                let request = ClientRequest(.get, url: "http://127.0.0.1:\(port)\(path)")!
                let response = try await client.send(request, timeout: .seconds(5))
                bodies.append(
                    String(decoding: try await response.body.collect(upTo: 9), as: UTF8.self)
                )
                // Long enough for the server to give the connection up.
                try await client.loop.sleep(for: .milliseconds(300))
            }
            return bodies
        }

        #expect(outcome == ["/1", "/2"])
    }

    @Test func `an answer that is late is a timeout, and a refused connection was not sent`()
        async throws
    {
        let errors = try await with(handler: { request in
            try await request.loop.sleep(for: .seconds(20))
            return .text("late")
        }) { client, port in
            var errors: [HTTPClientError] = []
            for url in ["http://127.0.0.1:\(port)/", "http://127.0.0.1:1/"] {
                do throws(HTTPClientError) {
                    _ = try await client.send(
                        ClientRequest(.get, url: url)!,
                        timeout: .milliseconds(100)
                    )
                } catch {
                    errors.append(error)
                }
            }
            return errors
        }

        #expect(errors.first == .timeout)
        #expect(errors.last?.wasNotSent == true)
    }

    @Test func `at the bound requests wait for a connection, and beyond it they are refused`()
        async throws
    {
        var limits = HTTPClientLimits()
        limits.connectionsPerHost = 2
        limits.waitingPerHost = 3
        let (answered, refused) = try await with(
            limits: limits,
            handler: { request in
                try await request.loop.sleep(for: .milliseconds(50))
                return .text("done")
            }
        ) { client, port in
            let answered = Left(0)
            let refused = Left(0)
            await withTaskGroup { group in
                for _ in 0..<8 {
                    group.addTask {
                        do throws(HTTPClientError) {
                            let response = try await client.send(
                                ClientRequest(.get, url: "http://127.0.0.1:\(port)/")!,
                                timeout: .seconds(5)
                            )
                            _ = try await response.body.collect(upTo: 100)
                            answered.change { $0 += 1 }
                        } catch {
                            refused.change { $0 += error == .overloaded ? 1 : 0 }
                        }
                    }
                }
            }
            return (answered.now, refused.now)
        }

        #expect(answered == 5)
        #expect(refused == 3)
    }

    @Test func `names are looked up`() async throws {
        let status = try await with(handler: { _ in .text("hello") }) { client, port in
            try await client.send(
                ClientRequest(.get, url: "http://localhost:\(port)/")!,
                timeout: .seconds(5)
            ).status
        }

        #expect(status == 200)
    }

    @Test(arguments: [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n", "nonsense\r\n\r\n", "",
    ])
    func `an answer that is not HTTP is an error`(answer: String) async throws {
        let group = LoopGroup(count: 1)
        let loop = group.loops[0]
        let error = try await loop.run { () -> HTTPClientError? in
            let listener = try TCPListener(
                loop: loop,
                descriptor: try TCPListener.open(address: "127.0.0.1", port: 0),
                accept: { listener in
                    let peer = CannedPeer(answer)
                    let socket = TCPSocket(loop: loop, owner: peer)
                    peer.socket = socket
                    _ = listener.take(socket)
                    socket.startReading()
                },
                onError: { _ in }
            )
            defer { listener.close() }
            let client = HTTPClient(loop: loop)
            defer { client.close() }
            do throws(HTTPClientError) {
                _ = try await client.send(
                    ClientRequest(.get, url: "http://127.0.0.1:\(listener.port)/")!,
                    timeout: .seconds(5)
                )
                return nil
            } catch {
                return error
            }
        }

        switch error {
        case .malformed, .closed: break
        default: Issue.record("\(String(describing: error))")
        }
        group.stopAndJoin()
    }
}

/// Answers the first bytes with a fixed text and closes.
private final class CannedPeer: SocketOwner {
    weak var socket: TCPSocket?
    private let answer: String

    init(_ answer: String) { self.answer = answer }

    func socketRead(_ bytes: UnsafeBufferPointer<UInt8>) {
        var answer = answer
        // The test looks at the client's side only.
        _ = answer.withUTF8 { socket?.write($0) }
        socket?.shutdown()
    }
    func socketEnded() { socket?.close() }
    func socketFailed(_ code: Int32) { socket?.close() }
    func socketWrote() {}
    func socketClosed() {}
}
