import Crypto
import HTTP

/// Tags of answers, by which a client says what it has already.
package enum EntityTag {
    /// Of the bytes, with its quotes; always 24 characters.
    package static func tag(_ bytes: [UInt8]) -> String {
        "\"" + Base64URL.encode(Digest.sha256(bytes).prefix(16)) + "\""
    }

    /// What caches may do with an answer that has one.
    static let caching = "private, no-cache"

    static func matches(_ header: String, _ tag: String) -> Bool {
        header.split(separator: ",").contains { candidate in
            var candidate = candidate.drop { $0 == " " }
            if candidate.hasPrefix("W/") { candidate = candidate.dropFirst(2) }
            while candidate.last == " " { candidate.removeLast() }
            return candidate == "*" || candidate == tag[...]
        }
    }
}

extension Response {
    /// Gives a GET's answer an `ETag` of its bytes, or turns it into a 304 where the client has them.
    package consuming func tagged(for request: Request) -> Response {
        guard status.code == 200, case .bytes(let bytes) = body else { return self }
        return tagged(EntityTag.tag(bytes), for: request)
    }

    /// The same with a tag that is known.
    package consuming func tagged(_ tag: String, for request: Request) -> Response {
        var response = self
        response.headers["ETag"] = tag
        if response.headers["Cache-Control"] == nil {
            response.headers["Cache-Control"] = EntityTag.caching
        }
        guard let known = request.header("If-None-Match"), EntityTag.matches(known, tag) else {
            return response
        }
        response.status = 304
        response.body = .none
        response.headers["Content-Type"] = nil
        return response
    }
}
