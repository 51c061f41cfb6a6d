import CPicoHTTP
import Glibc

/// Finds and checks the head of a request.
///
/// picohttpparser finds the parts; every rule on which two parsers of one message could disagree is checked
/// here, and what is not plainly right is refused (RFC 9112; the table is in `FramingTests`).
final class HeadParser {
    enum Outcome {
        case partial
        /// The head is complete; ``HeadParser/takeHead()`` gives it.
        case head(length: Int)
        case refused(HTTPError)
    }

    private let limits: HTTPLimits
    private var found = RequestHead()
    private let fields: UnsafeMutablePointer<phr_header>

    init(limits: HTTPLimits) {
        self.limits = limits
        fields = .allocate(capacity: limits.headers)
    }

    deinit { fields.deallocate() }

    /// Parses the head at the start of `input`; the first `seen` bytes were there in an earlier call.
    func parse(_ input: UnsafeBufferPointer<UInt8>, seen: Int) -> Outcome {
        guard let first = input.first else { return .partial }
        guard first.isTokenByte else { return .refused(HTTPError(400, "Malformed request line.")) }
        let base = UnsafeRawPointer(input.baseAddress!).assumingMemoryBound(to: CChar.self)
        var method: UnsafePointer<CChar>?
        var methodLength = 0
        var target: UnsafePointer<CChar>?
        var targetLength = 0
        var minor: Int32 = -1
        var count = limits.headers
        let length = phr_parse_request(
            base,
            input.count,
            &method,
            &methodLength,
            &target,
            &targetLength,
            &minor,
            fields,
            &count,
            seen
        )
        if length == -2 {
            if input.count > limits.headBytes { return .refused(tooLarge(input)) }
            let longest = limits.targetBytes + 32
            if input.count > longest, input.firstIndex(of: 0x0A) ?? input.count > longest {
                return .refused(HeadParser.targetTooLong)
            }
            return .partial
        }
        guard length > 0 else { return .refused(fault(input)) }
        guard length <= limits.headBytes else { return .refused(tooLarge(input)) }
        guard targetLength <= limits.targetBytes else { return .refused(HeadParser.targetTooLong) }

        let text = UnsafeBufferPointer(rebasing: input[0..<Int(length)])
        var head = RequestHead()
        do {
            try check(lines: text)
            try read(
                method: UnsafeBufferPointer(rebasing: text[0..<methodLength]),
                minor: minor,
                into: &head
            )
            let start = base.distance(to: target!)
            head.slots.reserveCapacity(count)
            var framing = FramingRules()
            for index in 0..<count {
                let slot = try slot(fields[index], base: base)
                try framing.note(slot, in: text, head: &head)
                head.slots.append(slot)
            }
            try framing.conclude(&head)
            try TargetRules.read(start..<start + targetLength, in: text, host: framing.host, &head)
            head.bytes = Array(text)
            swap(&head, &found)
            return .head(length: Int(length))
        } catch {
            return .refused(error)
        }
    }

    /// The head that ``parse(_:seen:)`` has found.
    func takeHead() -> RequestHead {
        var head = RequestHead()
        swap(&head, &found)
        return head
    }

    private static let targetTooLong = HTTPError(414, "The request target is too long.")

    /// Every line must end in CR LF. A CR without LF does not come this far: picohttpparser refuses it.
    private func check(lines text: UnsafeBufferPointer<UInt8>) throws(HTTPError) {
        var start = text.baseAddress!
        let end = start + text.count
        while start < end, let found = memchr(start, 0x0A, end - start) {
            let line = UnsafePointer(found.assumingMemoryBound(to: UInt8.self))
            guard line > text.baseAddress!, line[-1] == 0x0D else {
                throw HTTPError(400, "A line of the head does not end in CR LF.")
            }
            start = line + 1
        }
    }

    private func read(
        method: UnsafeBufferPointer<UInt8>,
        minor: Int32,
        into head: inout RequestHead
    ) throws(HTTPError) {
        guard minor == 0 || minor == 1 else { throw HeadParser.unsupportedVersion }
        guard let known = Method(bytes: method) else {
            guard method.isToken else { throw HTTPError(400, "Malformed request method.") }
            throw HTTPError(501, "This request method is not implemented.")
        }
        head.method = known
        head.isHTTP10 = minor == 0
        head.keepsAlive = minor == 1
    }

    private static let unsupportedVersion = HTTPError(505, "Only HTTP/1.1 and HTTP/1.0 are spoken.")

    private func slot(
        _ field: phr_header,
        base: UnsafePointer<CChar>
    ) throws(HTTPError) -> RequestHead.Slot {
        guard let name = field.name else {
            throw HTTPError(400, "Folded header lines are refused.")
        }
        let nameStart = base.distance(to: name)
        var valueStart = base.distance(to: field.value)
        var valueEnd = valueStart + field.value_len
        while valueStart < valueEnd, HeadParser.isBlank(base[valueStart]) { valueStart += 1 }
        while valueEnd > valueStart, HeadParser.isBlank(base[valueEnd - 1]) { valueEnd -= 1 }
        return RequestHead.Slot(
            nameStart: UInt32(nameStart),
            nameEnd: UInt32(nameStart + field.name_len),
            valueStart: UInt32(valueStart),
            valueEnd: UInt32(valueEnd)
        )
    }

    private static func isBlank(_ character: CChar) -> Bool {
        character == 0x20 || character == 0x09
    }

    // MARK: Why was it refused

    /// A head that never ends: the request line or the fields are too large.
    private func tooLarge(_ input: UnsafeBufferPointer<UInt8>) -> HTTPError {
        let lineEnd = input.firstIndex(of: 0x0A)
        if lineEnd == nil || lineEnd! > limits.targetBytes { return HeadParser.targetTooLong }
        return HTTPError(431, "The request's header fields are too large.")
    }

    /// Says why picohttpparser gave up, which it does not tell.
    private func fault(_ input: UnsafeBufferPointer<UInt8>) -> HTTPError {
        guard let lineEnd = input.firstIndex(of: 0x0A) else {
            return HTTPError(400, "Malformed request line.")
        }
        let line = UnsafeBufferPointer(rebasing: input[0..<lineEnd]).string
        let parts = line.split(omittingEmptySubsequences: false) {
            $0 == " " || $0 == "\r" || $0 == "\r\n"
        }
        let version = parts.last { !$0.isEmpty } ?? ""
        let digits = version.utf8.filter(\.isDigit).count
        if version.hasPrefix("HTTP/"), digits > 0, version != "HTTP/1.1", version != "HTTP/1.0",
            version.dropFirst(5).utf8.allSatisfy({ $0.isDigit || $0 == UInt8(ascii: ".") })
        {
            return HeadParser.unsupportedVersion
        }
        let lines = input.reduce(into: 0) { $0 += $1 == 0x0A ? 1 : 0 }
        if lines > limits.headers {
            return HTTPError(431, "The request has more than \(limits.headers) header fields.")
        }
        return HTTPError(400, "Malformed request head.")
    }
}
