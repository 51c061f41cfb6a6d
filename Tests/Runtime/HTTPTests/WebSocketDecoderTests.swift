import Testing

@testable import HTTP

/// The frames of RFC 6455 as a table: what a client sends, and what comes of it, however it is cut.
struct WebSocketDecoderTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let input: [UInt8]
        let events: [WebSocketDecoder.Event]
        /// The code with which it is refused; nil where it is right.
        let refusal: UInt16?

        init(
            _ description: String,
            _ input: [UInt8],
            _ events: [WebSocketDecoder.Event] = [],
            refusal: UInt16? = nil
        ) {
            testDescription = description
            self.input = input
            self.events = events
            self.refusal = refusal
        }
    }

    static let limit = 70_000

    private static func frame(_ first: UInt8, _ payload: [UInt8] = []) -> [UInt8] {
        ClientFrame.bytes(first, payload)
    }

    private static let hello = Array("hello".utf8)
    private static let umlaut: [UInt8] = [0xC3, 0xBC]

    static let accepted: [Case] = [
        Case("a text", ClientFrame.text("hello"), [.text(hello)]),
        Case("an empty text", ClientFrame.text(""), [.text([])]),
        Case("bytes", frame(0x82, [0, 255]), [.binary([0, 255])]),
        Case(
            "two messages",
            ClientFrame.text("a") + ClientFrame.text("b"),
            [.text([97]), .text([98])]
        ),
        Case(
            "a text in fragments",
            frame(0x01, [97]) + frame(0x00, [98]) + frame(0x80, [99]),
            [.text([97, 98, 99])]
        ),
        Case("fragments without bytes", frame(0x01) + frame(0x00) + frame(0x80), [.text([])]),
        Case(
            "a character cut by fragments",
            frame(0x01, [0xC3]) + frame(0x80, [0xBC]),
            [.text(umlaut)]
        ),
        Case("a ping", frame(0x89, hello), [.ping(hello)]),
        Case(
            "a ping of 125 bytes",
            frame(0x89, Array(repeating: 1, count: 125)),
            [.ping(Array(repeating: 1, count: 125))]
        ),
        Case("a pong nobody asked for", frame(0x8A), [.pong([])]),
        Case(
            "control frames between fragments",
            frame(0x01, [97]) + frame(0x89, [1]) + frame(0x8A, [2]) + frame(0x80, [98]),
            [.ping([1]), .pong([2]), .text([97, 98])]
        ),
        Case(
            "125 bytes",
            frame(0x82, Array(repeating: 7, count: 125)),
            [.binary(Array(repeating: 7, count: 125))]
        ),
        Case(
            "126 bytes",
            frame(0x82, Array(repeating: 7, count: 126)),
            [.binary(Array(repeating: 7, count: 126))]
        ),
        Case(
            "65,535 bytes",
            frame(0x82, Array(repeating: 7, count: 65_535)),
            [.binary(Array(repeating: 7, count: 65_535))]
        ),
        Case(
            "65,536 bytes",
            frame(0x82, Array(repeating: 7, count: 65_536)),
            [.binary(Array(repeating: 7, count: 65_536))]
        ),
        Case(
            "as many bytes as may be",
            frame(0x82, Array(repeating: 7, count: limit)),
            [.binary(Array(repeating: 7, count: limit))]
        ),
        Case("a close without a code", frame(0x88), [.close(.none, reason: "")]),
        Case("a close", ClientFrame.close(1000), [.close(.normal, reason: "")]),
        Case(
            "a close with a reason",
            ClientFrame.close(3999, Array("bye".utf8)),
            [.close(3999, reason: "bye")]
        ),
        Case(
            "bytes after a close",
            ClientFrame.close(1001) + [255, 255, 255],
            [.close(.goingAway, reason: "")]
        ),
        Case(
            "a close inside of a message",
            frame(0x01, [97]) + ClientFrame.close(1000),
            [.close(.normal, reason: "")]
        ),
        Case(
            "four bytes a character",
            ClientFrame.text("\u{10FFFF}\u{1F600}"),
            [.text(Array("\u{10FFFF}\u{1F600}".utf8))]
        ),
    ]

    static let refused: [Case] = [
        Case(
            "a frame without a mask",
            ClientFrame.bytes(0x81, hello, isMasked: false),
            refusal: 1002
        ),
        Case("the first reserved bit", frame(0xC1, hello), refusal: 1002),
        Case("the second reserved bit", frame(0xA1, hello), refusal: 1002),
        Case("the third reserved bit", frame(0x91, hello), refusal: 1002),
        Case("opcode 3", frame(0x83), refusal: 1002),
        Case("opcode 7", frame(0x87), refusal: 1002),
        Case("opcode 11", frame(0x8B), refusal: 1002),
        Case("opcode 15", frame(0x8F), refusal: 1002),
        Case("a ping in fragments", frame(0x09, [1]), refusal: 1002),
        Case("a close in fragments", frame(0x08), refusal: 1002),
        Case("a ping of 126 bytes", frame(0x89, Array(repeating: 1, count: 126)), refusal: 1002),
        Case("a continuation of nothing", frame(0x80, hello), refusal: 1002),
        Case("a message inside of another", frame(0x01, [97]) + frame(0x81, [98]), refusal: 1002),
        Case(
            "a continuation after the end",
            frame(0x01, [97]) + frame(0x80, [98]) + frame(0x80),
            [.text([97, 98])],
            refusal: 1002
        ),
        Case(
            "a short length in two bytes",
            ClientFrame.bytes(0x82, hello, lengthBytes: 2),
            refusal: 1002
        ),
        Case(
            "a short length in eight bytes",
            ClientFrame.bytes(0x82, Array(repeating: 1, count: 300), lengthBytes: 8),
            refusal: 1002
        ),
        Case(
            "a length with its highest bit",
            [0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4],
            refusal: 1002
        ),
        Case(
            "a length of nearly 2^63",
            [0x82, 0xFF, 0x7F, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4],
            refusal: 1009
        ),
        Case(
            "one byte more than may be",
            frame(0x82, Array(repeating: 7, count: limit + 1)),
            refusal: 1009
        ),
        Case(
            "fragments of more than may be",
            frame(0x02, Array(repeating: 7, count: limit)) + frame(0x80, [1]),
            refusal: 1009
        ),
        Case("half of a close code", frame(0x88, [3]), refusal: 1002),
        Case("close code 0", ClientFrame.close(0), refusal: 1002),
        Case("close code 999", ClientFrame.close(999), refusal: 1002),
        Case("close code 1004", ClientFrame.close(1004), refusal: 1002),
        Case("close code 1005", ClientFrame.close(1005), refusal: 1002),
        Case("close code 1006", ClientFrame.close(1006), refusal: 1002),
        Case("close code 1015", ClientFrame.close(1015), refusal: 1002),
        Case("close code 2999", ClientFrame.close(2999), refusal: 1002),
        Case("close code 5000", ClientFrame.close(5000), refusal: 1002),
        Case("a reason that is not UTF-8", ClientFrame.close(1000, [0xFF]), refusal: 1007),
        Case(
            "a reason that ends inside of a character",
            ClientFrame.close(1000, [0xC3]),
            refusal: 1007
        ),
        Case("a text that is not UTF-8", frame(0x81, [0xFF]), refusal: 1007),
        Case("a surrogate", frame(0x81, [0xED, 0xA0, 0x80]), refusal: 1007),
        Case("a character spelt too long", frame(0x81, [0xC0, 0x80]), refusal: 1007),
        Case("three bytes for two", frame(0x81, [0xE0, 0x9F, 0xBF]), refusal: 1007),
        Case("four bytes for three", frame(0x81, [0xF0, 0x8F, 0xBF, 0xBF]), refusal: 1007),
        Case("past the last character", frame(0x81, [0xF4, 0x90, 0x80, 0x80]), refusal: 1007),
        Case("a continuation byte alone", frame(0x81, [0x80]), refusal: 1007),
        Case("a text that ends inside of a character", frame(0x81, [0xC3]), refusal: 1007),
        Case(
            "the same over fragments",
            frame(0x01, [97]) + frame(0x80, [0xE2, 0x82]),
            refusal: 1007
        ),
        Case("a wrong byte in an unfinished message", frame(0x01, [0xC3, 0x28]), refusal: 1007),
    ]

    @Test(arguments: accepted + refused)
    func `a frame means the same however it is cut`(_ expected: Case) {
        let step = max(1, expected.input.count / 40)
        let places = [expected.input.count] + stride(from: 0, to: expected.input.count, by: step)

        for place in places {
            let outcome = Self.decode(expected.input, cuts: [place])

            #expect(outcome.events == expected.events, "cut at \(place)")
            #expect(outcome.refusal == expected.refusal, "cut at \(place)")
        }
        let bytewise = Self.decode(Array(expected.input.prefix(400)), cuts: Array(0..<400))
        if expected.input.count <= 400 {
            #expect(bytewise.events == expected.events)
            #expect(bytewise.refusal == expected.refusal)
        }
    }

    @Test func `a text is refused at its first wrong byte, before the message ends`() {
        let head: [UInt8] = ClientFrame.bytes(0x81, Array(repeating: 97, count: 100)).prefix(6) + []
        let wrong = [97, 0xFF].enumerated().map { UInt8($1) ^ ClientFrame.mask[$0] }

        let outcome = Self.decode(head + wrong, cuts: [])

        #expect(outcome.refusal == 1007)
    }

    static func decode(
        _ bytes: [UInt8],
        cuts: [Int]
    ) -> (events: [WebSocketDecoder.Event], refusal: UInt16?) {
        var decoder = WebSocketDecoder(messageBytes: limit)
        var events: [WebSocketDecoder.Event] = []
        var start = 0
        for end in cuts + [bytes.count] {
            let end = max(start, min(end, bytes.count))
            do throws(WebSocketFault) {
                try bytes[start..<end].withUnsafeBufferPointer { (piece) throws(WebSocketFault) in
                    try decoder.feed(piece) { events.append($0) }
                }
            } catch {
                return (events, error.code.rawValue)
            }
            start = end
        }
        return (events, nil)
    }
}
