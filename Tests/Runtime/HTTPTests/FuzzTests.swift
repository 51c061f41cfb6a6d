import EventLoops
import Foundation
import Testing

@testable import HTTP

/// Random changes to good and bad input. `FUZZ_ROUNDS=1000000 FUZZ_SEED=7 swift test --filter FuzzTests`
/// goes on for longer; a failure names the seed that repeats it.
struct FuzzTests {
    private static let rounds = setting("FUZZ_ROUNDS") ?? 3_000
    private static let seed = UInt64(setting("FUZZ_SEED") ?? Int.random(in: 0..<1 << 32))

    private static func setting(_ name: String) -> Int? {
        ProcessInfo.processInfo.environment[name].flatMap { Int($0) }
    }

    private static let corpus: [[UInt8]] =
        (FramingTests.accepted + FramingTests.refused + FramingTests.badChunks)
        .map { Array($0.input.utf8.prefix(4_000)) }

    private static let fragments: [[UInt8]] =
        [
            "\r\n", "\n", "\r", "\0", " ", "\t", ":", ",", ";", "%", "?", "#", "/", "\r\n\r\n",
            "0\r\n\r\n",
            "Host: b\r\n", "Content-Length: 3\r\n", "content-length:3\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding: \u{B}chunked\r\n", "Connection: close\r\n",
            "Expect: 100-continue\r\n",
            "HTTP/1.1", "HTTP/1.0", "POST", "GET / HTTP/1.1\r\n", "5\r\nhello\r\n",
            "FFFFFFFFFFFFFFF\r\n",
        ].map { Array($0.utf8) } + [[0x80], [0xFF], [0x7F]]

    private func mutate(_ random: inout SeededGenerator) -> [UInt8] {
        var bytes = Self.corpus.randomElement(using: &random)!
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            let place = Int.random(in: 0...bytes.count, using: &random)
            switch Int.random(in: 0..<6, using: &random) {
            case 0 where place < bytes.count:
                bytes[place] = UInt8.random(in: 0...255, using: &random)
            case 1 where place < bytes.count:
                let end = min(bytes.count, place + Int.random(in: 1...20, using: &random))
                bytes.removeSubrange(place..<end)
            case 2:
                let end = min(bytes.count, place + Int.random(in: 0...60, using: &random))
                bytes.insert(contentsOf: Array(bytes[place..<end]), at: place)
            case 3:
                bytes.insert(contentsOf: Self.corpus.randomElement(using: &random)!, at: place)
            default:
                bytes.insert(contentsOf: Self.fragments.randomElement(using: &random)!, at: place)
            }
        }
        return bytes
    }

    @Test func `a head means the same however it is cut, and what is accepted obeys the rules`() {
        var random = SeededGenerator(seed: Self.seed)
        let parser = HeadParser(limits: HTTPLimits())
        for round in 0..<Self.rounds {
            let bytes = mutate(&random)
            let cuts = (0..<3).map { _ in Int.random(in: 0...bytes.count, using: &random) }.sorted()

            let broken = FramingProperties.violation(ofHead: bytes, cuts: cuts, parser)

            #expect(broken == nil, "seed \(Self.seed) round \(round): \(bytes)")
        }
    }

    @Test func `chunks mean the same however they are cut`() {
        var random = SeededGenerator(seed: Self.seed)
        for round in 0..<Self.rounds {
            let bytes = mutate(&random)
            let cuts = (0..<3).map { _ in Int.random(in: 0...bytes.count, using: &random) }.sorted()

            let broken = FramingProperties.violation(ofChunks: bytes, cuts: cuts)

            #expect(broken == nil, "seed \(Self.seed) round \(round): \(bytes)")
        }
    }

    @Test func `frames mean the same however they are cut, and texts are UTF-8`() {
        var random = SeededGenerator(seed: Self.seed)
        let cases = WebSocketDecoderTests.accepted + WebSocketDecoderTests.refused
        let corpus = cases.map(\.input).filter { $0.count < 400 }
        for round in 0..<Self.rounds {
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                bytes += corpus.randomElement(using: &random)!
            }
            for _ in 0..<Int.random(in: 0...2, using: &random) {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                bytes[place] = UInt8.random(in: 0...255, using: &random)
            }
            let cuts = (0..<3).map { _ in Int.random(in: 0...bytes.count, using: &random) }.sorted()

            let broken = FramingProperties.violation(ofFrames: bytes, cuts: cuts)

            #expect(broken == nil, "seed \(Self.seed) round \(round): \(bytes)")
        }
    }

    @Test func `parts of a form are pieces of its body`() {
        var random = SeededGenerator(seed: Self.seed)
        let form = Array(
            "--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--b--\r\n".utf8
        )
        for round in 0..<Self.rounds {
            var bytes = mutate(&random)
            bytes.insert(contentsOf: form, at: Int.random(in: 0...bytes.count, using: &random))

            let broken = FramingProperties.violation(ofForm: bytes)

            #expect(broken == nil, "seed \(Self.seed) round \(round): \(bytes)")
        }
    }

    @Test func `chunks decode to what was encoded, however they are cut`() throws {
        var random = SeededGenerator(seed: Self.seed)
        for round in 0..<Self.rounds {
            var body: [UInt8] = []
            var encoded: [UInt8] = []
            for _ in 0..<Int.random(in: 0...5, using: &random) {
                let size = Int.random(in: 1...300, using: &random)
                let piece = (0..<size).map { _ in UInt8.random(in: 0...255, using: &random) }
                body += piece
                encoded += Array("\(String(size, radix: 16));x=y\r\n".utf8) + piece + [13, 10]
            }
            encoded += Array("0\r\nTrailer: x\r\n\r\n".utf8)
            let tail = Array("GET".utf8)

            let decoded = try decode(encoded + tail, random: &random)

            #expect(decoded.body == body, "seed \(Self.seed) round \(round)")
            #expect(decoded.used == encoded.count, "seed \(Self.seed) round \(round)")
        }
    }

    private func decode(
        _ bytes: [UInt8],
        random: inout SeededGenerator
    ) throws -> (body: [UInt8], used: Int) {
        var decoder = ChunkedDecoder(overhead: 10_000)
        var body: [UInt8] = []
        var start = 0
        while start < bytes.count, !decoder.isDone {
            let end = min(bytes.count, start + Int.random(in: 1...40, using: &random))
            start += try bytes[start..<end].withUnsafeBufferPointer { piece in
                try decoder.feed(piece) { body += $0 }
            }
        }
        return (body, start)
    }

    @Test func `a server survives anything, and answers a good request afterwards`() async throws {
        var limits = HTTPLimits()
        limits.headTimeout = .milliseconds(200)
        limits.rateWindow = .milliseconds(200)
        limits.lingerTimeout = .milliseconds(200)
        let running = try await RunningServer(limits: limits) { request in
            .text(
                "\(try await request.body.collect(upTo: 10_000).count) \(request.query.pairs.count)"
            )
        }
        var random = SeededGenerator(seed: Self.seed)

        for round in 0..<Self.rounds / 10 {
            let client = RawClient(port: running.port)
            let bytes = mutate(&random)
            let cut = Int.random(in: 0...bytes.count, using: &random)
            client.send(Array(bytes[..<cut]))
            client.send(Array(bytes[cut...]))
            if round % 3 == 0 { client.reset() } else { client.endSending() }
            let text = client.receiveAll()
            #expect(text.isEmpty || text.hasPrefix("HTTP/1.1 "), "seed \(Self.seed) round \(round)")
        }
        let client = RawClient(port: running.port)
        client.send("GET /?a=b HTTP/1.1\r\nHost: a\r\n\r\n")
        let answer = client.answer()

        #expect(answer?.body == "0 1", "seed \(Self.seed)")
        #expect(
            try await eventually {
                try await running.loop.run { running.server.openConnections <= 1 }
            }
        )
        try await running.stop()
    }
}
