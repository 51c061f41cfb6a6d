/// The rules on the header fields of one request, as they are read one after the other.
struct FramingRules {
    private(set) var host: RequestHead.Slot?
    private var length: Int?
    private var isChunked = false
    private var closes = false
    private var keepsAlive = false

    mutating func note(
        _ slot: RequestHead.Slot,
        in text: UnsafeBufferPointer<UInt8>,
        head: inout RequestHead
    ) throws(HTTPError) {
        let name = text.part(slot.nameStart, slot.nameEnd)
        guard name.isToken else { throw HTTPError(400, "A header name is not a token.") }
        let value = text.part(slot.valueStart, slot.valueEnd)
        guard FramingRules.isPlain(value) else {
            throw HTTPError(400, "A header value holds a control character.")
        }
        switch name.count {
        case 4 where name.equalsIgnoringCase("Host"): try note(host: slot, value)
        case 6 where name.equalsIgnoringCase("Expect"):
            guard value.equalsIgnoringCase("100-continue") else {
                throw HTTPError(417, "The only expectation that can be met is 100-continue.")
            }
            head.expectsContinue = true
        case 10 where name.equalsIgnoringCase("Connection"): note(connection: value)
        case 11 where name.equalsIgnoringCase("traceparent"):
            if head.traceparent == nil, FramingRules.isTraceparent(value) {
                head.traceparent = slot
            }
        case 12 where name.equalsIgnoringCase("X-Request-Id"):
            if head.requestID == nil, FramingRules.isRequestID(value) { head.requestID = slot }
        case 14 where name.equalsIgnoringCase("Content-Length"): try note(length: value)
        case 17 where name.equalsIgnoringCase("Transfer-Encoding"): try note(encoding: value)
        default: break
        }
    }

    /// Checks what only the whole head can tell, and decides how its body is framed.
    func conclude(_ head: inout RequestHead) throws(HTTPError) {
        if host == nil && !head.isHTTP10 { throw HTTPError(400, "The Host header is missing.") }
        if isChunked && length != nil {
            throw HTTPError(400, "Content-Length and Transfer-Encoding exclude each other.")
        }
        if isChunked && head.isHTTP10 {
            throw HTTPError(400, "HTTP/1.0 has no Transfer-Encoding.")
        }
        if head.isHTTP10, length == nil,
            head.method == .post || head.method == .put || head.method == .patch
        {
            throw HTTPError(411, "An HTTP/1.0 request with a body needs a Content-Length.")
        }
        head.framing = isChunked ? .chunked : .length(length ?? 0)
        head.expectsContinue = head.expectsContinue && !head.isHTTP10 && head.hasBody
        head.keepsAlive = !closes && (!head.isHTTP10 || keepsAlive)
    }

    private mutating func note(
        host slot: RequestHead.Slot,
        _ value: UnsafeBufferPointer<UInt8>
    ) throws(HTTPError) {
        guard host == nil else { throw HTTPError(400, "The Host header is repeated.") }
        guard value.count > 0, value.allSatisfy(FramingRules.isHostByte) else {
            throw HTTPError(400, "Malformed Host header.")
        }
        host = slot
    }

    private mutating func note(length value: UnsafeBufferPointer<UInt8>) throws(HTTPError) {
        guard length == nil else { throw HTTPError(400, "Content-Length is repeated.") }
        guard (1...18).contains(value.count), value.allSatisfy(\.isDigit) else {
            throw HTTPError(400, "Malformed Content-Length.")
        }
        length = value.reduce(0) { $0 * 10 + Int($1 & 15) }
    }

    private mutating func note(encoding value: UnsafeBufferPointer<UInt8>) throws(HTTPError) {
        guard !isChunked else { throw HTTPError(400, "Transfer-Encoding is repeated.") }
        if value.equalsIgnoringCase("chunked") {
            isChunked = true
            return
        }
        let codings = value.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
            .map { UnsafeBufferPointer(rebasing: $0).trimmed }
        let chunked = codings.count { $0.equalsIgnoringCase("chunked") }
        guard codings.allSatisfy(\.isToken), chunked == 1,
            codings.last!.equalsIgnoringCase("chunked")
        else { throw HTTPError(400, "Malformed Transfer-Encoding.") }
        throw HTTPError(501, "The only transfer coding implemented is chunked.")
    }

    private mutating func note(connection value: UnsafeBufferPointer<UInt8>) {
        if value.equalsIgnoringCase("keep-alive") {
            keepsAlive = true
            return
        }
        for token in value.split(separator: UInt8(ascii: ",")) {
            let token = UnsafeBufferPointer(rebasing: token).trimmed
            if token.equalsIgnoringCase("close") { closes = true }
            if token.equalsIgnoringCase("keep-alive") { keepsAlive = true }
        }
    }

    private static func isPlain(_ value: UnsafeBufferPointer<UInt8>) -> Bool {
        for byte in value where byte < 0x20 && byte != 0x09 || byte == 0x7F { return false }
        return true
    }

    static func isHostByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "."), UInt8(ascii: "-"),
            UInt8(ascii: "_"), UInt8(ascii: ":"), UInt8(ascii: "["), UInt8(ascii: "]"):
            true
        default: false
        }
    }

    private static func isRequestID(_ value: UnsafeBufferPointer<UInt8>) -> Bool {
        guard (1...64).contains(value.count) else { return false }
        return value.allSatisfy { byte in
            byte.isDigit || byte.lowercased &- 0x61 < 26 || byte == UInt8(ascii: "-")
                || byte == UInt8(ascii: "_") || byte == UInt8(ascii: ".")
        }
    }

    /// `00-<32 hex>-<16 hex>-<2 hex>`, in lower case, with neither id all zeros.
    private static func isTraceparent(_ value: UnsafeBufferPointer<UInt8>) -> Bool {
        guard value.count == 55, value[0] == 0x30, value[1] == 0x30 else { return false }
        for (index, byte) in value.enumerated() {
            let isDash = index == 2 || index == 35 || index == 52
            guard isDash == (byte == UInt8(ascii: "-")) else { return false }
            guard isDash || byte.isDigit || byte &- 0x61 < 6 else { return false }
        }
        return !value[3..<35].allSatisfy { $0 == 0x30 } && !value[36..<52].allSatisfy { $0 == 0x30 }
    }
}
