import Crypto
import HTTP

extension Response {
    /// Gives a GET's answer an `ETag` of its bytes, or turns it into a 304 where the client has them.
    package consuming func tagged(for request: Request) -> Response {
        guard status.code == 200, case .bytes(let bytes) = body else { return self }
        let tag = "\"" + Base64URL.encode(Digest.sha256(bytes).prefix(16)) + "\""
        var response = self
        response.headers["ETag"] = tag
        if response.headers["Cache-Control"] == nil {
            response.headers["Cache-Control"] = "private, no-cache"
        }
        guard let known = request.header("If-None-Match"), Self.matches(known, tag) else {
            return response
        }
        response.status = 304
        response.body = .none
        response.headers["Content-Type"] = nil
        return response
    }

    private static func matches(_ header: String, _ tag: String) -> Bool {
        header.split(separator: ",").contains { candidate in
            var candidate = candidate.drop { $0 == " " }
            if candidate.hasPrefix("W/") { candidate = candidate.dropFirst(2) }
            while candidate.last == " " { candidate.removeLast() }
            return candidate == "*" || candidate == tag[...]
        }
    }
}
