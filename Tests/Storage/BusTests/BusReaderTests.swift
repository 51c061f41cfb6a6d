import Testing

@testable import Bus

struct BusReaderTests {
    private func read(_ text: String, cut place: Int) throws(BusReader.Fault) -> [BusReader.Line] {
        let bytes = Array(text.utf8)
        var reader = BusReader()
        var lines: [BusReader.Line] = []
        for piece in [bytes[..<place], bytes[place...]] {
            try piece.withUnsafeBufferPointer { (piece) throws(BusReader.Fault) in
                try reader.feed(piece) { lines.append($0) }
            }
        }
        return lines
    }

    @Test func `what a server says means the same however it is cut`() throws {
        let text =
            "INFO {\"server_id\":\"x\"}\r\n+OK\r\nMSG a.b 7 5\r\nhello\r\nPING\r\n"
            + "MSG a.b 8 reply.to 0\r\n\r\nPONG\r\nMSG c 9 4\r\n\r\n\r\n\r\n-ERR 'no'\r\n"
        let expected: [BusReader.Line] = [
            .info, .okay, .message(subscription: 7, payload: Array("hello".utf8)), .ping,
            .message(subscription: 8, payload: []), .pong,
            .message(subscription: 9, payload: [13, 10, 13, 10]), .refusal("'no'"),
        ]

        for place in 0...text.utf8.count {
            let lines = try read(text, cut: place)

            #expect(lines == expected, "cut at \(place)")
        }
    }

    @Test(arguments: [
        "HELLO\r\n", "MSG a\r\n", "MSG a 1 x\r\n", "MSG a 1 -1\r\n", "MSG a 1 99999999\r\n",
        "MSG a 1 2\r\nabcd", "PING\n", "\r\n",
    ])
    func `what is none of that is refused`(_ text: String) {
        #expect(throws: BusReader.Fault.self) { try read(text, cut: 0) }
    }

    @Test func `an endless line is refused`() {
        #expect(throws: BusReader.Fault.self) {
            try read(String(repeating: "a", count: BusReader.lineBytes + 2), cut: 0)
        }
    }
}
