import HTTP
import JSON

/// Reads a request's query and body into an ``Input``.
package enum InputReader {
    /// What stands in the query, which needs no waiting.
    static func readQuery(_ request: Request) throws(ServiceError) -> Input {
        var input = Input()
        if request.hasQuery { try input.add(request.query) }
        return input
    }

    package static func read(_ request: Request, body: Endpoint.Body) async throws -> Input {
        var input = try readQuery(request)
        guard case .input(let limit) = body, request.body.declaredLength != 0 else { return input }
        input.merge(try await readBody(request, limit: limit))
        return input
    }

    private static func readBody(_ request: Request, limit: Int) async throws -> Input {
        var input = Input()
        switch mediaType(request.header("Content-Type")) {
        case "application/json":
            let bytes = try await request.body.collect(upTo: limit)
            if !bytes.isEmpty { try input.add(parse(bytes, limit: limit)) }
        case "multipart/form-data":
            try await readParts(of: request, limit: limit, into: &input)
        case "application/x-www-form-urlencoded", nil:
            let bytes = try await request.body.collect(upTo: limit)
            try input.add(Query(parsing: bytes))
        default:
            let bytes = try await request.body.collect(upTo: limit)
            guard bytes.isEmpty else {
                throw ServiceError(
                    .unsupportedMediaType,
                    "Send a form or JSON: application/json, multipart/form-data or "
                        + "application/x-www-form-urlencoded."
                )
            }
        }
        return input
    }

    private static func parse(_ bytes: [UInt8], limit: Int) throws(ServiceError) -> JSONValue {
        do {
            return try JSONReader.parse(bytes, limit: limit)
        } catch {
            throw ServiceError(.badRequest, "The body is not JSON that can be read.", cause: error)
        }
    }

    private static func readParts(
        of request: Request,
        limit: Int,
        into input: inout Input
    ) async throws {
        let reader = try MultipartReader(
            request.body,
            contentType: request.header("Content-Type")
        )
        var left = limit
        while let part = try await reader.nextPart() {
            let bytes = try await reader.collect(upTo: left)
            left -= bytes.count
            try input.add(part.name, value(of: part, bytes))
        }
    }

    private static func value(
        of part: MultipartReader.Part,
        _ bytes: [UInt8]
    ) throws(ServiceError) -> Input.Value {
        if let filename = part.filename {
            return .file(
                UploadedFile(filename: filename, contentType: part.contentType, bytes: bytes)
            )
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ServiceError(.badRequest, "The field \(part.name) is not UTF-8.")
        }
        return .text(text)
    }

    /// The type without its parameters, in lower case.
    static func mediaType(_ header: String?) -> String? {
        guard let header else { return nil }
        let type = header.prefix { $0 != ";" }
        return String(type.filter { $0 != " " && $0 != "\t" }).lowercased()
    }
}
