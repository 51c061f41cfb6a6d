import CPicoHTTP

/// The parsed head of an answer.
struct ResponseHead {
    var status: Status
    var headers = Headers()
    var framing = BodyDecoder.untilClose
    var keepsAlive = true
    /// How many bytes of input it took.
    var length: Int

    private static let maximumFields = 128

    /// Bounds the extensions and trailers of a chunked body; an endless stream has neither.
    private static let chunkOverhead = 1_048_576

    /// The head at the start of `input`; nil while it is incomplete.
    static func parse(
        _ input: UnsafeBufferPointer<UInt8>,
        seen: Int,
        limit: Int
    ) throws(HTTPClientError) -> ResponseHead? {
        guard let start = input.baseAddress else { return nil }
        let outcome = withUnsafeTemporaryAllocation(of: phr_header.self, capacity: maximumFields) {
            fields -> Result<ResponseHead?, HTTPClientError> in
            let base = UnsafeRawPointer(start).assumingMemoryBound(to: CChar.self)
            var minor: Int32 = 0
            var status: Int32 = 0
            var reason: UnsafePointer<CChar>?
            var reasonLength = 0
            var count = maximumFields
            let length = phr_parse_response(
                base,
                input.count,
                &minor,
                &status,
                &reason,
                &reasonLength,
                fields.baseAddress,
                &count,
                seen
            )
            if length == -2 {
                return input.count <= limit
                    ? .success(nil) : .failure(.malformed("the head's size"))
            }
            guard length > 0, length <= limit, (100...999).contains(status), status != 101 else {
                return .failure(.malformed("the head"))
            }
            var head = ResponseHead(status: Status(Int(status)), length: Int(length))
            head.keepsAlive = minor == 1
            return Result { () throws(HTTPClientError) in
                try head.read(UnsafeBufferPointer(rebasing: fields[..<count]))
                return head
            }
        }
        return try outcome.get()
    }

    private mutating func read(_ fields: UnsafeBufferPointer<phr_header>) throws(HTTPClientError) {
        for field in fields {
            guard let start = field.name else { throw .malformed("a folded field") }
            let name = ResponseHead.bytes(start, field.name_len)
            guard name.isToken else { throw .malformed("a field name") }
            headers.add(
                name.string,
                ResponseHead.bytes(field.value, field.value_len).trimmed.string
            )
        }
        for option in headers.all("Connection").flatMap({ $0.split(separator: ",") }) {
            if String(option.drop { $0 == " " }).equalsIgnoringCase("close") { keepsAlive = false }
        }
        try readFraming()
    }

    private mutating func readFraming() throws(HTTPClientError) {
        let encodings = headers.all("Transfer-Encoding")
        let lengths = headers.all("Content-Length")
        if let encoding = encodings.first {
            guard encodings.count == 1, lengths.isEmpty, encoding.equalsIgnoringCase("chunked")
            else {
                throw .malformed("the framing")
            }
            framing = .chunked(ChunkedDecoder(overhead: ResponseHead.chunkOverhead))
        } else if let length = lengths.first {
            guard lengths.count == 1, (1...18).contains(length.utf8.count),
                length.utf8.allSatisfy(\.isDigit), let value = Int(length)
            else { throw .malformed("the length") }
            framing = .length(remaining: value)
        }
    }

    private static func bytes(_ start: UnsafePointer<CChar>, _ count: Int) -> UnsafeBufferPointer<
        UInt8
    > {
        UnsafeBufferPointer(
            start: UnsafeRawPointer(start).assumingMemoryBound(to: UInt8.self),
            count: count
        )
    }
}
