import Contracts
import HTTP
import Objects
import ServiceKit
import Sharding

/// The files themselves. A name never stands for other bytes, so everybody may keep them for ever.
extension MediaService {
    private static let cacheControl = "public, max-age=31536000, immutable"

    var fileEndpoint: Endpoint {
        Endpoint(
            .get,
            "/media/:name/:file",
            operationID: "getMediaFile",
            summary: "A file of a photo",
            tag: "media",
            access: .open,
            output: .content("image/*"),
            handler: file
        )
    }

    private func file(_ call: Call) async throws -> Response {
        guard let name = call.request.parameters["name"].flatMap({ MediumName($0) }),
            let file = call.request.parameters["file"], let object = name.object(file)
        else { throw ServiceError.notFound }
        let stored: StoredObject?
        do {
            stored = try await objects.get(object)
        } catch {
            throw Self.refusal(error)
        }
        guard let stored else { throw ServiceError.notFound }
        return try await answer(call.request, stored, file: file, tag: "\"\(name.text)/\(file)\"")
    }

    private func answer(
        _ request: Request,
        _ stored: StoredObject,
        file: String,
        tag: String
    ) async throws -> Response {
        let modified = HTTPDate.text(seconds: stored.modified)
        var headers: Headers = [
            "ETag": tag,
            "Last-Modified": modified,
            "Cache-Control": Self.cacheControl,
            "Accept-Ranges": "bytes",
            "Cross-Origin-Resource-Policy": "cross-origin",
        ]
        let validators = Validators(tag: tag, modified: modified)
        if validators.isKnown(to: request) { return Response(status: 304, headers: headers) }
        let ending = file.drop { $0 != "." }.dropFirst()
        headers["Content-Type"] = ImageFormat.contentTypes[String(ending)]
        let header = validators.allowRange(request) ? request.header("Range") : nil
        switch ByteRange(header, length: stored.length) {
        case .whole:
            return Response(headers: headers, body: try await body(stored, 0..<stored.length))
        case .part(let range):
            headers["Content-Range"] =
                "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(stored.length)"
            return Response(status: 206, headers: headers, body: try await body(stored, range))
        case .unsatisfiable:
            return Response(
                status: 416,
                headers: [
                    "Content-Range": "bytes */\(stored.length)", "Cache-Control": "no-store",
                ]
            )
        }
    }

    /// What fits one read is sent in one piece, the rest is streamed.
    private func body(_ stored: StoredObject, _ range: Range<Int>) async throws -> ResponseBody {
        guard range.count > StoredObject.readSize else {
            return .bytes(try await stored.read(range))
        }
        return .stream(length: range.count) { writer in
            try await stored.stream(range) { try await writer.write($0) }
        }
    }
}

/// The validators of one file, against what a request says of the copy that it has (RFC 9110 section 13).
struct Validators {
    let tag: String
    let modified: String

    /// Whether the client's copy is good, so that 304 is the answer.
    func isKnown(to request: Request) -> Bool {
        if let known = request.header("If-None-Match") {
            return known.split(separator: ",").contains { candidate in
                var candidate = candidate.drop { $0 == " " }
                if candidate.hasPrefix("W/") { candidate = candidate.dropFirst(2) }
                while candidate.last == " " { candidate.removeLast() }
                return candidate == "*" || candidate == tag[...]
            }
        }
        guard let since = request.header("If-Modified-Since") else { return false }
        guard let asked = HTTPDate.seconds(since), let own = HTTPDate.seconds(modified) else {
            return false
        }
        return own <= asked
    }

    /// Whether a range may be cut: with `If-Range`, only from the very copy that the client has.
    func allowRange(_ request: Request) -> Bool {
        guard let condition = request.header("If-Range") else { return true }
        return condition == tag || condition == modified
    }
}
