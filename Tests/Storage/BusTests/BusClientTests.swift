import EventLoops
import Logging
import Metrics
import TestSupport
import Testing

@testable import Bus

@Suite(.serialized)
struct BusClientTests {
    private static func client(
        _ loop: EventLoop,
        _ server: BusServer,
        password: String = BusServer.password
    ) -> BusClient {
        var settings = BusSettings(
            host: server.host,
            port: server.port,
            user: BusServer.user,
            password: password
        )
        settings.longestPause = .milliseconds(200)
        settings.pingInterval = .milliseconds(100)
        settings.silence = .milliseconds(500)
        settings.connectTimeout = .milliseconds(500)
        return BusClient(
            loop: loop,
            settings: settings,
            metrics: MetricsRegistry(),
            log: Logger(label: "bus")
        )
    }

    private static func until(
        _ loop: EventLoop,
        _ condition: () -> Bool
    ) async throws -> Bool {
        for _ in 0..<2_000 {
            if condition() { return true }
            try await loop.sleep(for: .milliseconds(5))
        }
        return false
    }

    @Test func `what one publishes comes to all who listen, in order`() async throws {
        let server = try await BusServer.start()
        try await withLoop { loop in
            let speaker = Self.client(loop, server), listener = Self.client(loop, server)
            var heard: [String] = []
            let first = listener.subscribe("a.b") { heard.append("1:" + text($0)) }
            _ = listener.subscribe("a.b") { heard.append("2:" + text($0)) }
            for client in [speaker, listener] { client.start() }
            let isUp = try await Self.until(loop) { speaker.isConnected && listener.isConnected }
            #expect(isUp)
            // What a connection says is heard in its order: so the server knows who listens.
            listener.publish("a.b", Array("here".utf8))
            let isKnown = try await Self.until(loop) { heard.count == 2 }
            #expect(isKnown)
            heard = []

            speaker.publish("a.b", Array("x\r\ny".utf8))
            speaker.publish("other", Array("z".utf8))
            speaker.publish("a.b")
            let isHeard = try await Self.until(loop) { heard.count >= 4 }
            first.cancel()
            speaker.publish("a.b", Array("last".utf8))
            let isLast = try await Self.until(loop) { heard.count >= 5 }

            #expect(isHeard && isLast)
            #expect(heard.filter { $0.hasPrefix("1") } == ["1:x\r\ny", "1:"])
            #expect(heard.filter { $0.hasPrefix("2") } == ["2:x\r\ny", "2:", "2:last"])
            for client in [speaker, listener] { client.stop() }
        }
        await server.process.stop()
    }

    @Test func `a server that dies is found again, and who listens is told`() async throws {
        let server = try await BusServer.start()
        try await withLoop { loop in
            let client = Self.client(loop, server)
            var heard = 0
            var connects = 0
            _ = client.subscribe("a") { _ in heard += 1 }
            client.onConnect { connects += 1 }
            client.start()
            _ = try await Self.until(loop) { client.isConnected }

            await server.process.kill()
            let isLost = try await Self.until(loop) { !client.isConnected }
            client.publish("a")
            try await server.startAgain()
            let isBack = try await Self.until(loop) { client.isConnected }
            client.publish("a")
            let isHeard = try await Self.until(loop) { heard > 0 }

            #expect(isLost && isBack && isHeard)
            // What was published without a server is lost, and nothing else happened.
            #expect(heard == 1)
            #expect(connects == 2)
            client.stop()
        }
        await server.process.stop()
    }

    @Test func `a server that hangs is given up, and holds up nobody`() async throws {
        let server = try await BusServer.start()
        try await withLoop { loop in
            let client = Self.client(loop, server)
            client.start()
            _ = try await Self.until(loop) { client.isConnected }

            await server.process.freeze()
            var longest = Duration.zero
            let clock = ContinuousClock()
            let isLost = try await Self.until(loop) {
                let took = clock.measure {
                    for _ in 0..<100 { client.publish("a", Array(repeating: 1, count: 4_096)) }
                }
                longest = max(longest, took)
                return !client.isConnected
            }
            server.process.thaw()
            let isBack = try await Self.until(loop) { client.isConnected }

            #expect(isLost && isBack)
            // A publisher never waits: far less than the server was silent.
            #expect(longest < .milliseconds(250))
            client.stop()
        }
        await server.process.stop()
    }

    @Test func `a wrong password is refused, and tried again`() async throws {
        let server = try await BusServer.start()
        try await withLoop { loop in
            let stranger = Self.client(loop, server, password: "wrong")
            stranger.start()

            try await loop.sleep(for: .milliseconds(300))

            #expect(!stranger.isConnected)
            stranger.stop()
        }
        await server.process.stop()
    }

    @Test func `without a bus nothing is published and nothing fails`() async throws {
        try await withLoop { loop in
            let client = BusClient(
                loop: loop,
                settings: nil,
                metrics: MetricsRegistry(),
                log: Logger(label: "bus")
            )
            client.start()
            client.publish("a")
            client.subscribe("a") { _ in }.cancel()
            client.stop()

            #expect(!client.isConnected)
        }
    }
}

private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
