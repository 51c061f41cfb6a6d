/// A request to another server.
package struct ClientRequest: Sendable {
    package var method: Method
    package var host: String
    package var port: Int
    /// Path and query, percent-encoded.
    package var target: String
    package var headers: Headers
    package var body: [UInt8]

    package init(
        _ method: Method,
        host: String,
        port: Int,
        target: String,
        headers: Headers = [:],
        body: [UInt8] = []
    ) {
        self.method = method
        self.host = host
        self.port = port
        self.target = target
        self.headers = headers
        self.body = body
    }

    /// A request to `http://host[:port][/path]`; nil for any other address.
    package init?(
        _ method: Method,
        url: String,
        headers: Headers = [:],
        body: [UInt8] = []
    ) {
        guard url.hasPrefix("http://") else { return nil }
        let rest = url.dropFirst("http://".count)
        let slash = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        var authority = rest[..<slash]
        var port = 80
        if let colon = authority.lastIndex(of: ":"), !authority.hasSuffix("]") {
            guard let number = Int(authority[authority.index(after: colon)...]),
                (1...65_535).contains(number)
            else { return nil }
            port = number
            authority = authority[..<colon]
        }
        if authority.hasPrefix("["), authority.hasSuffix("]") {
            authority = authority.dropFirst().dropLast()
        }
        guard !authority.isEmpty else { return nil }
        let target = rest[slash...]
        self.init(
            method,
            host: String(authority),
            port: port,
            target: target.hasPrefix("/") ? String(target) : "/" + target,
            headers: headers,
            body: body
        )
    }
}

/// The answer of another server: its head, and a body that is still arriving.
///
/// A connection whose answer is dropped before its body was read to the end is closed.
package struct ClientResponse: Sendable {
    package let status: Status
    package let headers: Headers
    package let body: ClientBody

    /// Closes the connection unless the body has been read to its end; on the client's loop.
    package func discard() { body.cancel() }
}

/// The body of an answer.
package typealias ClientBody = ByteStream<HTTPClientError>

package enum HTTPClientError: Error, Sendable, Equatable {
    /// No connection could be made; the request was not sent.
    case connect(String)
    /// The name has no address; the request was not sent.
    case resolve(String)
    /// The time was up.
    case timeout
    /// The connection closed before the answer was complete; the request may have been carried out.
    case closed
    /// The answer was not HTTP.
    case malformed(String)
    case bodyTooLarge(limit: Int)
    /// Too many requests wait for a connection to this host; the request was not sent.
    case overloaded
    case cancelled

    /// Whether the request surely had no effect.
    package var wasNotSent: Bool {
        switch self {
        case .connect, .resolve, .overloaded: true
        default: false
        }
    }
}

extension HTTPClientError: StreamFailure {
    package static func tooLarge(limit: Int) -> HTTPClientError { .bodyTooLarge(limit: limit) }
}

extension ClientRequest {
    /// What forbids sending the request as it stands.
    var fault: String? {
        let isHost = !host.isEmpty && host.utf8.allSatisfy(FramingRules.isHostByte)
        let isTarget =
            target.utf8.first == UInt8(ascii: "/")
            && target.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "#") }
        if !isHost { return "the host" }
        if !(1...65_535).contains(port) { return "the port" }
        return isTarget ? nil : "the target"
    }

    /// Writes the head.
    func write(to output: OutputBuffer) {
        output.append(method.rawValue)
        output.append(" ")
        output.append(target)
        output.append(" HTTP/1.1\r\n")
        if headers["Host"] == nil {
            output.append(
                host.utf8.contains(UInt8(ascii: ":")) ? "Host: [\(host)]" : "Host: \(host)"
            )
            if port != 80 { output.append(":\(port)") }
            output.append("\r\n")
        }
        for field in headers.fields where !ClientRequest.isOurs(field.name) {
            output.append(field.name)
            output.append(": ")
            output.append(field.value)
            output.append("\r\n")
        }
        if !body.isEmpty || method == .post || method == .put || method == .patch {
            output.append("Content-Length: ")
            output.append(decimal: body.count)
            output.append("\r\n")
        }
        output.append("\r\n")
    }

    private static func isOurs(_ name: String) -> Bool {
        ["Connection", "Content-Length", "Expect", "Transfer-Encoding"].contains {
            $0.equalsIgnoringCase(name)
        }
    }
}
