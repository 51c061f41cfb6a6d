/// Writes the heads of answers.
enum ResponseEncoder {
    static func write(
        _ response: Response,
        length: Int?,
        isChunked: Bool,
        keepsAlive: Bool,
        request: Request?,
        date: [UInt8],
        to output: OutputBuffer
    ) {
        output.append(Status.lines[response.status.code])
        for field in response.headers.fields where !isOurs(field.name) {
            output.append(field.name)
            output.append(": ")
            output.append(field.value)
            output.append("\r\n")
        }
        response.defaults?.write(beside: response.headers, to: output)
        if let lines = response.lines {
            lines.bytes.withUnsafeBufferPointer {
                output.append(UnsafeBufferPointer(rebasing: $0[lines.range]))
            }
        }
        output.append(date)
        if let request { write(requestID: request, to: output) }
        if isChunked {
            output.append("Transfer-Encoding: chunked\r\n")
        } else if let length {
            output.append("Content-Length: ")
            output.append(decimal: length)
            output.append("\r\n")
        }
        if case .webSocket = response.body {
            output.append("Connection: Upgrade\r\n")
        } else if !keepsAlive {
            output.append("Connection: close\r\n")
        } else if request?.head.isHTTP10 ?? false {
            output.append("Connection: keep-alive\r\n")
        }
        output.append("\r\n")
    }

    /// Whether the server alone decides this header.
    private static func isOurs(_ name: String) -> Bool {
        switch name.utf8.count {
        case 4: name.equalsIgnoringCase("Date")
        case 10: name.equalsIgnoringCase("Connection")
        case 12: name.equalsIgnoringCase("X-Request-Id")
        case 14: name.equalsIgnoringCase("Content-Length")
        case 17: name.equalsIgnoringCase("Transfer-Encoding")
        default: false
        }
    }

    private static func write(requestID request: Request, to output: OutputBuffer) {
        output.append("X-Request-Id: ")
        if let slot = request.head.requestID {
            request.head.bytes.withUnsafeBufferPointer { bytes in
                output.append(bytes.part(slot.valueStart, slot.valueEnd))
            }
        } else {
            request.madeID.write(to: output.extend(32))
        }
        output.append("\r\n")
    }
}

extension ResponseBody {
    /// The length, where it is known before the body is made.
    var count: Int? {
        switch self {
        case .none, .webSocket: 0
        case .bytes(let bytes): bytes.count
        case .part(_, let range): range.count
        case .stream(let length, _): length
        }
    }
}
