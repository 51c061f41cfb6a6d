import EventLoops
import HTTP
import Testing

struct MultipartReaderTests {
    private static let type = "multipart/form-data; boundary=\"xyz\""

    private func read(
        _ text: String,
        contentType: String? = type,
        limits: MultipartReader.Limits = .init()
    ) async throws(HTTPError) -> [String] {
        let body = RequestBody(bytes: Array(text.utf8))
        let reader = try MultipartReader(body, contentType: contentType, limits: limits)
        var parts: [String] = []
        while let part = try await reader.nextPart() {
            let bytes = try await reader.collect(upTo: 1_000)
            let name = "\(part.name)|\(part.filename ?? "-")|\(part.contentType ?? "-")|"
            parts.append(name + String(decoding: bytes, as: UTF8.self))
        }
        return parts
    }

    private func part(_ disposition: String, _ value: String) -> String {
        "--xyz\r\nContent-Disposition: form-data; \(disposition)\r\n\r\n\(value)\r\n"
    }

    @Test func `parts come with their names, in order`() async throws {
        let file =
            "--xyz\r\ncontent-type: image/png\r\nContent-Disposition: form-data;"
            + " name=\"file\"; filename=\"a \\\"b\\\".png\"\r\n\r\n\r\n--xy\r\n\r\n"

        let parts = try await read(
            part("name=a", "1") + file + part("name=\"é\"", "") + "--xyz--\r\n"
        )

        #expect(parts == ["a|-|-|1", "file|a \"b\".png|image/png|\r\n--xy\r\n", "é|-|-|"])
    }

    @Test func `an extended file name wins`() async throws {
        let disposition = "name=f; filename=\"x\"; filename*=UTF-8''na%C3%AFve.jpg"

        let parts = try await read(part(disposition, "1") + "--xyz--")

        #expect(parts == ["f|naïve.jpg|-|1"])
    }

    @Test func `what was not read of a part is skipped`() async throws {
        let text = part("name=a", String(repeating: "x", count: 5_000)) + part("name=b", "2")
        let body = RequestBody(bytes: Array((text + "--xyz--").utf8))
        let reader = try MultipartReader(body, contentType: Self.type)

        let first = try await reader.nextPart()
        let second = try await reader.nextPart()
        let value = try await reader.collect(upTo: 10)
        let end = try await reader.nextPart()

        #expect(first?.name == "a")
        #expect(second?.name == "b")
        #expect(value == [UInt8(ascii: "2")])
        #expect(end == nil)
    }

    @Test(arguments: [
        nil, "", "text/plain", "multipart/form-data", "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\u{7F}\"",
        "multipart/form-data; boundary=" + String(repeating: "x", count: 71),
    ])
    func `another type or no boundary is 415`(contentType: String?) async {
        await #expect { try await read("--xyz--", contentType: contentType) } throws: {
            ($0 as? HTTPError)?.status == 415
        }
    }

    @Test(arguments: [
        "", "--xyz", "--xyz\r\n", "--abc--", "--xyz\r\n\r\nvalue\r\n--xyz--",
        "--xyz\r\nContent-Disposition: form-data\r\n\r\nv\r\n--xyz--",
        "--xyz\r\nContent-Disposition: attachment; name=a\r\n\r\nv\r\n--xyz--",
        "--xyz\r\nContent-Disposition: form-data; name=a\r\n\r\nv",
        "--xyz\r\nContent-Disposition: form-data; name=a\r\n\r\nv\r\n--xyz",
        "--xyz\r\nContent-Disposition: form-data; name=a\r\n\r\nv\r\n--xyzabc--",
        "--xyz\r\nContent-Disposition: form-data; name=\"\0\"\r\n\r\nv\r\n--xyz--",
        "--xyz\r\nno colon\r\n\r\nv\r\n--xyz--", "--xyz\r\nA B: c\r\n\r\nv\r\n--xyz--",
        String(repeating: "x", count: 20_000),
    ])
    func `a malformed form is 400`(text: String) async {
        await #expect { try await read(text) } throws: { ($0 as? HTTPError)?.status == 400 }
    }

    @Test func `too many parts, a long head and a large part are 413`() async {
        var limits = MultipartReader.Limits()
        limits.parts = 3
        let many = String(repeating: part("name=a", "1"), count: 4) + "--xyz--"
        let long = part("name=\"\(String(repeating: "n", count: 9_000))\"", "1") + "--xyz--"
        let large = part("name=a", String(repeating: "x", count: 1_001)) + "--xyz--"

        for text in [many, long, large] {
            await #expect { try await read(text, limits: limits) } throws: {
                ($0 as? HTTPError)?.status == 413
            }
        }
    }

    @Test(arguments: 0..<20)
    func `a form that arrives in pieces of any size reads the same`(seed: UInt64) async throws {
        let seen = Left<[String]>([])
        let running = try await RunningServer { request in
            let reader = try MultipartReader(
                request.body,
                contentType: request.header("Content-Type")
            )
            while let part = try await reader.nextPart() {
                let bytes = try await reader.collect(upTo: 100_000)
                seen.change { $0.append("\(part.name) \(bytes.count)") }
            }
            return .text("ok")
        }
        let sizes = [0, 1, 3_000, 70_000]
        let text =
            sizes.enumerated().map {
                part("name=p\($0.offset)", String(repeating: "\r\n--xy", count: $0.element / 6))
            }.joined() + "--xyz--\r\n"
        let bytes = Array(text.utf8)
        var random = SeededGenerator(seed: seed)

        let client = RawClient(port: running.port)
        client.send(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: \(Self.type)\r\n"
                + "Content-Length: \(bytes.count)\r\n\r\n"
        )
        var start = 0
        while start < bytes.count {
            let end = min(bytes.count, start + Int.random(in: 1...5_000, using: &random))
            client.send(Array(bytes[start..<end]))
            start = end
        }
        let answer = client.answer()

        #expect(answer?.status == 200)
        #expect(seen.now == sizes.enumerated().map { "p\($0.offset) \($0.element / 6 * 6)" })
        try await running.stop()
    }
}

/// SplitMix64: the same seed gives the same test.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
