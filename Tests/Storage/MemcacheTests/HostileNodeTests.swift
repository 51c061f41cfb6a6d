import EventLoops
import Memcache
import Sharding
import TestSupport
import Testing

/// A memcached that says what a test makes it say.
private final class FakeNode: SocketOwner, @unchecked Sendable {
    // @unchecked: touched on its loop only.
    enum Answer {
        case say(String)
        /// Byte by byte, each in a turn of its own.
        case dribble(String)
        case silence
        case end
    }

    private let loop: EventLoop
    private var listener: TCPListener?
    private var sockets: [TCPSocket] = []
    private var connections = 0
    private var text = ""
    /// What to say to a line, by the number of the connection.
    private let answer: (_ line: String, _ connection: Int) -> Answer

    init(
        loop: EventLoop,
        answer: @escaping (_ line: String, _ connection: Int) -> Answer
    ) throws {
        self.loop = loop
        self.answer = answer
        listener = try TCPListener(
            loop: loop,
            descriptor: try TCPListener.open(address: "127.0.0.1", port: 0),
            accept: { [self] listener in
                let socket = TCPSocket(loop: loop, owner: self)
                guard listener.take(socket) == 0 else { return socket.close() }
                connections += 1
                sockets.append(socket)
                socket.startReading()
            },
            onError: { _ in }
        )
    }

    var node: CacheNode { CacheNode(host: "127.0.0.1", port: UInt16(listener!.port)) }

    func close() {
        listener?.close()
        for socket in sockets { socket.close() }
    }

    func socketRead(_ bytes: UnsafeBufferPointer<UInt8>) {
        text += String(decoding: bytes, as: UTF8.self)
        // Swift takes a line end of two bytes for one character.
        while let end = text.firstIndex(of: "\r\n") {
            let line = String(text[..<end])
            text = String(text[text.index(after: end)...])
            guard let socket = sockets.last, !socket.isClosed else { continue }
            switch answer(line, connections) {
            case .say(let answer): say(answer, socket)
            case .dribble(let answer): dribble(Array(answer.utf8)[...], socket)
            case .silence: break
            case .end: socket.close()
            }
        }
    }

    private func say(_ text: String, _ socket: TCPSocket) {
        let bytes = Array(text.utf8)
        _ = bytes.withUnsafeBufferPointer { socket.write($0) }
    }

    private func dribble(_ bytes: ArraySlice<UInt8>, _ socket: TCPSocket) {
        guard let first = bytes.first, !socket.isClosed else { return }
        _ = [first].withUnsafeBufferPointer { socket.write($0) }
        loop.after(.milliseconds(1)) { self.dribble(bytes.dropFirst(), socket) }
    }

    func socketEnded() {}
    func socketFailed(_ code: Int32) {}
    func socketWrote() {}
    func socketClosed() {}
}

/// Nodes that answer nonsense, too late, bit by bit, or not at all.
struct HostileNodeTests {
    private static let stamp = "5f1d0c00 0"

    /// The number of a command, which its answer must carry.
    private static func opaque(_ line: String) -> String {
        line.split(separator: " ").last.map(String.init) ?? ""
    }

    private static func isStamp(_ line: String) -> Bool { line.contains("tessera-stamp") }

    private static func stampAnswer(_ line: String) -> FakeNode.Answer {
        .say("VA \(stamp.utf8.count) f0 c1 \(opaque(line))\r\n\(stamp)\r\n")
    }

    /// A client of one such node, which says the right thing to questions for its stamp.
    private func withNode(
        timeout: Duration = .milliseconds(100),
        _ answer: @escaping @Sendable (_ line: String, _ connection: Int) -> FakeNode.Answer,
        _ body: @escaping @Sendable (MemcachedClient, EventLoop) async throws -> Void
    ) async throws {
        try await withLoop { loop in
            let fake = try FakeNode(loop: loop) { line, connection in
                Self.isStamp(line) ? Self.stampAnswer(line) : answer(line, connection)
            }
            var settings = CacheSettings()
            settings.timeout = timeout
            settings.retry = .milliseconds(5)
            settings.retryCeiling = .milliseconds(20)
            let client = MemcachedClient(
                loop: loop,
                pools: [.object: PoolMap(nodes: [fake.node])],
                settings: settings
            )
            try await body(client, loop)
            fake.close()
        }
    }

    private static let key = CacheKey(.object, "x")

    @Test func `a node that answers right is believed`() async throws {
        try await withNode { line, _ in
            .say("VA 2 f99 c1 \(Self.opaque(line))\r\nhi\r\n")
        } _: { client, _ in
            #expect(await client.get(Self.key) == Array("hi".utf8))
        }
    }

    @Test(arguments: [
        "VA 2 f99 c1 O4000000000\r\nhi\r\n", "HD OPAQUE\r\n", "VA 3 f99 c1 OPAQUE\r\nhi\r\n",
        "EN\r\n", "ERROR\r\n", "CLIENT_ERROR bad data chunk\r\n", "\u{1}\u{2}\r\n",
        "EN OPAQUE\r\nEN OPAQUE\r\n", "VA 2 f99 c1 OPAQUE\r\nhi\r\nVA 2 f99 c1 OPAQUE\r\nho\r\n",
    ])
    func `nonsense is a miss, and a connection that spoke it ends`(text: String) async throws {
        try await withNode { line, connection in
            let opaque = Self.opaque(line)
            guard connection == 1 else { return .say("VA 2 f99 c1 \(opaque)\r\nhi\r\n") }
            return .say(text.replacing("OPAQUE", with: opaque))
        } _: { client, loop in
            #expect(await client.get(Self.key) == nil)
            let back = await eventually(loop) { await client.get(Self.key) == Array("hi".utf8) }
            #expect(back)
        }
    }

    @Test func `two answers in the wrong order reach nobody`() async throws {
        let other = CacheKey(.object, "y")
        let lines = Lines()
        try await withNode { line, _ in
            guard let first = lines.pair(with: line) else { return .silence }
            return .say(
                """
                VA 1 f99 c1 \(Self.opaque(line))\r
                y\r
                VA 1 f99 c1 \(Self.opaque(first))\r
                x\r\n
                """
            )
        } _: { client, _ in
            #expect(await client.get([Self.key, other]).isEmpty)
        }
    }

    @Test func `a node that is silent or slow costs a bounded time`() async throws {
        let value = String(repeating: "v", count: 20_000)
        try await withNode { line, connection in
            connection == 1
                ? .silence : .dribble("VA 20000 f99 c1 \(Self.opaque(line))\r\n\(value)\r\n")
        } _: { client, loop in
            let start = ContinuousClock.now
            #expect(await client.get(Self.key) == nil)
            let isBack = await eventually(loop) { client.nodesDown(in: .object) == 0 }
            #expect(isBack)
            #expect(await client.get(Self.key) == nil)
            #expect(ContinuousClock.now - start < .seconds(8))
        }
    }

    @Test func `a node that ends each connection is left alone`() async throws {
        try await withNode { _, _ in
            .end
        } _: { client, loop in
            for _ in 0..<20 {
                #expect(await client.get(Self.key) == nil)
                try await loop.sleep(for: .milliseconds(2))
            }
            let filled = try await client.fill(Self.key, ttl: .seconds(1)) { [7] }
            #expect(filled == [7])
        }
    }
}

/// Remembers the line before.
private final class Lines: @unchecked Sendable {
    // @unchecked: called on one loop only.
    private var before: String?

    func pair(with line: String) -> String? {
        guard let first = before else {
            before = line
            return nil
        }
        return first
    }
}
