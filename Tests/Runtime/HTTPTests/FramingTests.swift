import EventLoops
import HTTP
import Testing

/// The framing rules, as a table: each input, sent as it stands, and the status of the only answer.
struct FramingTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let input: String
        let status: Int

        init(_ description: String, _ input: String, _ status: Int) {
            testDescription = description
            self.input = input
            self.status = status
        }
    }

    private static let get = "GET / HTTP/1.1\r\nHost: a\r\n"
    private static let post = "POST / HTTP/1.1\r\nHost: a\r\n"

    static let refused: [Case] = [
        Case("no method", " / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        Case("a method that is no token", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        Case("an unknown method", "BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        Case("a method in lower case", "get / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        Case("CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        Case("TRACE", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        Case("no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        Case("two spaces before the target", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        Case("a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        Case("a target without a slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        Case("a target with a fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        Case("a target with raw UTF-8", "GET /ü HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        Case("a target with a NUL", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        Case("a target with a tab", "GET /\t HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        Case("an asterisk for GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        Case("another host in the target", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        Case("an absolute target without a path", "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        Case("an ftp target", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        Case("HTTP/0.9", "GET /\r\n\r\n", 400),
        Case("HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        Case("HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        Case("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        Case("HTTP/1.10", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", 505),
        Case("a version in lower case", "GET / http/1.1\r\nHost: a\r\n\r\n", 400),
        Case("a version with a space behind it", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
        Case("no Host", "GET / HTTP/1.1\r\n\r\n", 400),
        Case("two Hosts", get + "Host: a\r\n\r\n", 400),
        Case("an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
        Case("a Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        Case("a Host with a user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
        Case("a list of Hosts", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
        Case("a line that ends in LF alone", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
        Case("a field that ends in LF alone", get + "A: b\n\r\n", 400),
        Case("an empty line of LF alone", get + "A: b\r\n\n", 400),
        Case("a CR in a value", get + "A: b\rc\r\n\r\n", 400),
        Case("a NUL in a value", get + "A: b\0c\r\n\r\n", 400),
        Case("a control character in a value", get + "A: b\u{1}c\r\n\r\n", 400),
        Case("a DEL in a value", get + "A: b\u{7F}c\r\n\r\n", 400),
        Case("a space before the colon", get + "A : b\r\n\r\n", 400),
        Case("a tab before the colon", get + "A\t: b\r\n\r\n", 400),
        Case("a space before the name", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        Case("a folded value", get + "A: b\r\n c\r\n\r\n", 400),
        Case("a folded Content-Length", post + "Content-Length:\r\n 5\r\n\r\nhello", 400),
        Case("an empty name", get + ": b\r\n\r\n", 400),
        Case("a name that is no token", get + "A[0]: b\r\n\r\n", 400),
        Case("a name with UTF-8", get + "Ä: b\r\n\r\n", 400),
        Case("a field without a colon", get + "A\r\n\r\n", 400),
        Case(
            "Content-Length twice",
            post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            400
        ),
        Case(
            "Content-Length twice, unequal",
            post + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
            400
        ),
        Case("a list of lengths", post + "Content-Length: 5, 5\r\n\r\nhello", 400),
        Case("a negative length", post + "Content-Length: -1\r\n\r\n", 400),
        Case("a length with a plus", post + "Content-Length: +5\r\n\r\nhello", 400),
        Case("a hexadecimal length", post + "Content-Length: 0x5\r\n\r\nhello", 400),
        Case("an empty length", post + "Content-Length:\r\n\r\n", 400),
        Case("a length with a space in it", post + "Content-Length: 1 0\r\n\r\n", 400),
        Case("a length beyond 64 bits", post + "Content-Length: 99999999999999999999\r\n\r\n", 400),
        Case(
            "both framings",
            post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400
        ),
        Case(
            "both framings, the other way round",
            post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            400
        ),
        Case(
            "Transfer-Encoding twice",
            post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400
        ),
        Case("chunked twice", post + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
        Case(
            "gzip before chunked",
            post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            501
        ),
        Case(
            "chunked before gzip",
            post + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
            400
        ),
        Case("identity", post + "Transfer-Encoding: identity\r\n\r\n", 400),
        Case("xchunked", post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
        Case("chunked with a vertical tab", post + "Transfer-Encoding: \u{B}chunked\r\n\r\n", 400),
        Case("an empty Transfer-Encoding", post + "Transfer-Encoding:\r\n\r\n", 400),
        Case(
            "chunks in HTTP/1.0",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400
        ),
        Case("a POST of HTTP/1.0 without length", "POST / HTTP/1.0\r\n\r\n", 411),
        Case("an unknown expectation", post + "Content-Length: 5\r\nExpect: tea\r\n\r\n", 417),
        Case("a body beyond the limit", post + "Content-Length: 1048577\r\n\r\n", 413),
        Case(
            "a target that is too long",
            "GET /" + String(repeating: "a", count: 8_300) + " HTTP/1.1\r\n",
            414
        ),
        Case("a request line without end", String(repeating: "G", count: 20_000), 414),
        Case(
            "a head that is too long",
            get + "A: " + String(repeating: "a", count: 17_000) + "\r\n\r\n",
            431
        ),
        Case("101 fields", get + String(repeating: "A: b\r\n", count: 100) + "\r\n", 431),
        Case("10,000 fields", get + String(repeating: "A: b\r\n", count: 10_000) + "\r\n", 431),
    ]

    @Test(arguments: refused)
    func `what is not plainly right is refused and the connection is closed`(
        _ sample: Case
    ) async throws {
        let running = try await RunningServer { request in
            .text("got \(try await request.body.collect(upTo: 100_000).count)")
        }

        let client = RawClient(port: running.port)
        client.send(sample.input)
        let answer = client.answer()

        #expect(answer?.status == sample.status)
        #expect(answer?.header("Connection") == "close")
        #expect(client.isClosedByPeer())
        try await running.stop()
    }

    static let badChunks: [Case] = [
        Case("no size", "\r\nhello\r\n0\r\n\r\n", 400),
        Case("a negative size", "-5\r\nhello\r\n0\r\n\r\n", 400),
        Case("a size with a plus", "+5\r\nhello\r\n0\r\n\r\n", 400),
        Case("a size with 0x", "0x5\r\nhello\r\n0\r\n\r\n", 400),
        Case("a size that overflows", "FFFFFFFFFFFFFFFF\r\nhello", 400),
        Case("a space before the size", " 5\r\nhello\r\n0\r\n\r\n", 400),
        Case("a space behind the size", "5 \r\nhello\r\n0\r\n\r\n", 400),
        Case("LF alone behind the size", "5\nhello\r\n0\r\n\r\n", 400),
        Case("CR alone behind the size", "5\rhello\r\n0\r\n\r\n", 400),
        Case("a chunk longer than its size", "4\r\nhello\r\n0\r\n\r\n", 400),
        Case("a chunk shorter than its size", "6\r\nhello\r\n0\r\n\r\n", 400),
        Case("LF alone behind the data", "5\r\nhello\n0\r\n\r\n", 400),
        Case("a control character in an extension", "5;a=\u{1}\r\nhello\r\n0\r\n\r\n", 400),
        Case("a folded trailer", "5\r\nhello\r\n0\r\n A: b\r\n\r\n", 400),
        Case("LF alone behind a trailer", "5\r\nhello\r\n0\r\nA: b\n\r\n", 400),
        Case(
            "an extension beyond the bound",
            "5;" + String(repeating: "a", count: 20_000) + "\r\n",
            431
        ),
        Case(
            "trailers beyond the bound",
            "0\r\n" + String(repeating: "A: b\r\n", count: 5_000) + "\r\n",
            431
        ),
    ]

    @Test(arguments: badChunks)
    func `a chunked body that is not plainly right is refused`(_ sample: Case) async throws {
        let running = try await RunningServer { request in
            .text("got \(try await request.body.collect(upTo: 100_000).count)")
        }

        let client = RawClient(port: running.port)
        client.send(FramingTests.post + "Transfer-Encoding: chunked\r\n\r\n" + sample.input)
        let answer = client.answer()

        #expect(answer?.status == sample.status)
        #expect(client.isClosedByPeer())
        try await running.stop()
    }

    static let accepted: [Case] = [
        Case("the least request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0),
        Case("an empty line before the request", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0),
        Case("an absolute target", "GET http://A:80/ HTTP/1.1\r\nHost: a:80\r\n\r\n", 0),
        Case("an asterisk for OPTIONS", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 0),
        Case("an IPv6 host", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 0),
        Case("HTTP/1.0 without Host", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 0),
        Case("UTF-8 in a value", "GET / HTTP/1.1\r\nHost: a\r\nA: ü\r\n\r\n", 0),
        Case("a POST without body", "POST / HTTP/1.1\r\nHost: a\r\n\r\n", 0),
        Case("a length", post + "Content-Length:   5\t\r\n\r\nhello", 5),
        Case("a GET with a body", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 5),
        Case(
            "chunks",
            post + "transfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
            11
        ),
        Case(
            "extensions and trailers",
            post + "Transfer-Encoding: chunked\r\n\r\n5 ;a=\"b\"\r\nhello\r\n000;x\r\nA: b\r\n\r\n",
            5
        ),
        Case("no chunks", post + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0),
    ]

    @Test(arguments: accepted, [1, 3, 1_000])
    func `what is right is accepted in pieces of any size`(
        _ sample: Case,
        pieceBytes: Int
    ) async throws {
        let running = try await RunningServer { request in
            .text("got \(try await request.body.collect(upTo: 100_000).count)")
        }
        let client = RawClient(port: running.port)
        let bytes = Array((sample.input + "GET / HTTP/1.1\r\nHost: a\r\n\r\n").utf8)

        for start in stride(from: 0, to: bytes.count, by: pieceBytes) {
            client.send(Array(bytes[start..<min(start + pieceBytes, bytes.count)]))
        }
        let first = client.answer()
        let second = client.answer()

        #expect(first?.status == 200)
        #expect(first?.body == "got \(sample.status)")
        #expect(second?.body == "got 0")
        try await running.stop()
    }
}
