import Dispatch
import EventLoops
import Synchronization

@testable import HTTP

/// What holds for any bytes whatever: checked for random ones by `FuzzTests`, and for those that libFuzzer finds by
/// `cluster/fuzz`.
///
/// Each function returns what is wrong, or nil.
enum FramingProperties {
    // MARK: Heads

    /// A head means the same however it is cut, and one that is accepted obeys the rules.
    static func violation(
        ofHead bytes: [UInt8],
        cuts: [Int],
        _ parser: HeadParser
    ) -> String? {
        let whole = outcome(parser, bytes, pieces: [])
        let cut = outcome(parser, bytes, pieces: cuts)
        // What is no head may be refused sooner or later.
        guard whole.text == cut.text || whole.head == nil && cut.head == nil else {
            return "\(whole.text), or \(cut.text) when cut at \(cuts)"
        }
        if let head = whole.head, !isPlain(head) { return "accepted against the rules" }
        return nil
    }

    /// What a parser made of some bytes, in a form that can be compared.
    private static func outcome(
        _ parser: HeadParser,
        _ bytes: [UInt8],
        pieces: [Int]
    ) -> (text: String, head: RequestHead?) {
        var seen = 0
        for end in pieces + [bytes.count] {
            let result = bytes[..<end].withUnsafeBufferPointer { parser.parse($0, seen: seen) }
            switch result {
            case .partial: seen = end
            case .refused(let error): return ("refused \(error.status.code)", nil)
            case .head(let length):
                let head = parser.takeHead()
                return (
                    "\(length) \(head.method) \(head.framing) \(head.target) \(head.keepsAlive)",
                    head
                )
            }
        }
        return ("partial", nil)
    }

    /// The rules once more, written another way; on bytes, since a mark that combines with a colon or a line's end
    /// makes another `Character` of it.
    private static func isPlain(_ head: RequestHead) -> Bool {
        var lines: [ArraySlice<UInt8>] = []
        var rest = head.bytes[...]
        while let end = rest.firstRange(of: [13, 10]) {
            lines.append(rest[..<end.lowerBound])
            rest = rest[end.upperBound...]
        }
        guard rest.isEmpty, lines.last?.isEmpty == true,
            !lines.dropLast().contains(where: \.isEmpty),
            !lines.contains(where: { $0.contains { $0 == 13 || $0 == 10 || $0 == 0 } })
        else { return false }
        let names = lines.dropFirst().dropLast().map { line in
            String(decoding: line.prefix { $0 != UInt8(ascii: ":") }, as: UTF8.self).lowercased()
        }
        let count = { (name: String) in names.count { $0 == name } }
        let hasChunks = count("transfer-encoding") == 1
        guard count("host") == 1 || head.isHTTP10 && count("host") == 0 else { return false }
        guard count("content-length") + count("transfer-encoding") <= 1 else { return false }
        guard (head.framing == .chunked) == hasChunks else { return false }
        let words = lines[0].split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        return words.count == 3
            && ["HTTP/1.1", "HTTP/1.0"].contains(String(decoding: words[2], as: UTF8.self))
            && names.allSatisfy { !$0.isEmpty && $0.utf8.allSatisfy(\.isTokenByte) }
    }

    // MARK: Chunks

    /// A chunked body means the same however it is cut, and gives no more bytes than came.
    static func violation(ofChunks bytes: [UInt8], cuts: [Int]) -> String? {
        let whole = decoded(bytes, pieces: [])
        let cut = decoded(bytes, pieces: cuts)
        guard whole == cut else { return "\(whole), or \(cut) when cut at \(cuts)" }
        if case .body(let body, let used, _) = whole, used > bytes.count || body.count > used {
            return "\(body.count) bytes out of \(used) of \(bytes.count)"
        }
        return nil
    }

    private enum Decoded: Equatable {
        case refused(ChunkedDecoder.Failure)
        case body([UInt8], used: Int, isDone: Bool)
    }

    private static func decoded(_ bytes: [UInt8], pieces: [Int]) -> Decoded {
        var decoder = ChunkedDecoder(overhead: 10_000)
        var body: [UInt8] = []
        var used = 0
        for end in pieces + [bytes.count] where !decoder.isDone {
            do throws(ChunkedDecoder.Failure) {
                let piece = bytes[used..<max(used, end)]
                try piece.withUnsafeBufferPointer { (piece) throws(ChunkedDecoder.Failure) in
                    used += try decoder.feed(piece) { body += $0 }
                }
            } catch {
                return .refused(error)
            }
        }
        return .body(body, used: used, isDone: decoder.isDone)
    }

    // MARK: Frames of WebSockets

    /// Frames mean the same however they are cut, and a text is UTF-8.
    static func violation(ofFrames bytes: [UInt8], cuts: [Int]) -> String? {
        let whole = frames(bytes, pieces: [])
        let cut = frames(bytes, pieces: cuts)
        // Of what is refused, a piece may show more of what came before.
        guard whole.fault == cut.fault, whole.events == cut.events else {
            return "\(whole), or \(cut) when cut at \(cuts)"
        }
        for case .text(let text) in whole.events
        where String(validating: text, as: UTF8.self) == nil {
            return "a text that is none: \(text)"
        }
        return nil
    }

    private static func frames(
        _ bytes: [UInt8],
        pieces: [Int]
    ) -> (events: [WebSocketDecoder.Event], fault: WebSocketFault?) {
        var decoder = WebSocketDecoder(messageBytes: 1_000)
        var events: [WebSocketDecoder.Event] = []
        var used = 0
        for end in pieces + [bytes.count] {
            do throws(WebSocketFault) {
                let piece = bytes[used..<max(used, end)]
                try piece.withUnsafeBufferPointer { (piece) throws(WebSocketFault) in
                    try decoder.feed(piece) { events.append($0) }
                }
            } catch {
                return (events, error)
            }
            used = max(used, end)
        }
        return (events, nil)
    }

    // MARK: Forms

    /// The parts of a form, with the boundary `b`, are pieces of its body, in order and apart.
    static func violation(ofForm bytes: [UInt8]) -> String? {
        let parts = Mutex<[[UInt8]]?>(nil)
        let isRead = DispatchSemaphore(value: 0)
        loop.loops[0].spawn {
            // What is refused has no parts to judge.
            let read = try? await Self.read(bytes)
            parts.withLock { $0 = read }
            isRead.signal()
        }
        isRead.wait()
        guard let parts = parts.withLock({ $0 }) else { return nil }
        var rest = bytes[...]
        for part in parts {
            guard let place = rest.firstRange(of: part) else {
                return "a part that the body does not have: \(part)"
            }
            rest = rest[place.upperBound...]
        }
        return nil
    }

    private static let loop = LoopGroup(count: 1, name: "forms")

    private static func read(_ bytes: [UInt8]) async throws -> [[UInt8]] {
        let reader = try MultipartReader(
            RequestBody(bytes: bytes),
            contentType: "multipart/form-data; boundary=b"
        )
        var parts: [[UInt8]] = []
        while try await reader.nextPart() != nil {
            parts.append(try await reader.collect(upTo: bytes.count))
        }
        return parts
    }
}
