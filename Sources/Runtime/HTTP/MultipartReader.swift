import CRuntime

/// Reads a `multipart/form-data` body part by part, as it arrives.
///
/// ```swift
/// let reader = try MultipartReader(request.body, contentType: request.header("Content-Type"))
/// while let part = try await reader.nextPart() {
///     while let chunk = try await reader.nextChunk() { … }
/// }
/// ```
/// It holds one piece of the body at a time. What is not plainly right is refused with 400, more parts or
/// longer part heads than allowed with 413.
package final class MultipartReader: @unchecked Sendable {
    // @unchecked: touched on the loop of its request only.

    package struct Limits: Sendable {
        package var parts = 100
        package var headBytes = 8_192

        package init() {}
    }

    /// One part; its bytes come from ``MultipartReader/nextChunk()`` until that returns nil.
    package struct Part: Sendable, Equatable {
        package let name: String
        /// As the client says; never a path to use.
        package let filename: String?
        /// As the client says.
        package let contentType: String?
    }

    private enum State {
        case beforeFirst
        case inPart
        case betweenParts
        case ended
    }

    private let body: RequestBody
    private let limits: Limits
    /// CR LF, two dashes and the boundary; what ends each part.
    private let delimiter: [UInt8]
    private var state = State.beforeFirst
    private var buffer: [UInt8]
    private var position = 0
    private var parts = 0

    /// Throws 415 unless `contentType` is `multipart/form-data` with a boundary.
    package init(
        _ body: RequestBody,
        contentType: String?,
        limits: Limits = Limits()
    ) throws(HTTPError) {
        let field = contentType.map { ParameterizedValue($0) }
        guard let field, field.value.equalsIgnoringCase("multipart/form-data"),
            let boundary = field["boundary"], (1...70).contains(boundary.utf8.count),
            boundary.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F })
        else { throw HTTPError(415, "The body must be multipart/form-data with a boundary.") }
        self.body = body
        self.limits = limits
        delimiter = Array("\r\n--\(boundary)".utf8)
        // The first delimiter has no line before it, so one is put there.
        buffer = [0x0D, 0x0A]
    }

    /// The next part, after what is left of the current one has been skipped; nil after the last.
    package func nextPart() async throws(HTTPError) -> Part? {
        while state == .inPart { _ = try await nextChunk() }
        if state == .beforeFirst { try await skipToFirst() }
        guard state == .betweenParts else { return nil }
        try await need(2)
        let mark = (buffer[position], buffer[position + 1])
        position += 2
        if mark == (UInt8(ascii: "-"), UInt8(ascii: "-")) {
            state = .ended
            try await readOver()
            return nil
        }
        guard mark == (0x0D, 0x0A) else { throw MultipartReader.malformed }
        parts += 1
        guard parts <= limits.parts else {
            throw HTTPError(413, "The form has more than \(limits.parts) parts.")
        }
        let part = try await readHead()
        state = .inPart
        return part
    }

    /// The next bytes of the current part; nil at its end.
    package func nextChunk() async throws(HTTPError) -> [UInt8]? {
        while state == .inPart {
            if let end = find(delimiter, from: position) {
                let chunk = Array(buffer[position..<end])
                position = end + delimiter.count
                state = .betweenParts
                return chunk.isEmpty ? nil : chunk
            }
            // All but what may be the beginning of a delimiter surely belongs to the part.
            let sure = buffer.count - (delimiter.count - 1)
            if sure > position {
                let chunk = Array(buffer[position..<sure])
                position = sure
                return chunk
            }
            try await fill()
        }
        return nil
    }

    /// All bytes of the current part, if they are at most `bound`; else 413.
    package func collect(upTo bound: Int) async throws(HTTPError) -> [UInt8] {
        var all: [UInt8] = []
        while let chunk = try await nextChunk() {
            guard all.count + chunk.count <= bound else {
                throw HTTPError(413, "A part of the form is larger than \(bound) bytes.")
            }
            all += chunk
        }
        return all
    }

    private static let malformed = HTTPError(400, "Malformed multipart/form-data.")
    private static let headTooLong = HTTPError(413, "The head of a part is too long.")

    private func skipToFirst() async throws(HTTPError) {
        while true {
            if let start = find(delimiter, from: position) {
                position = start + delimiter.count
                state = .betweenParts
                return
            }
            guard buffer.count - position <= limits.headBytes else {
                throw MultipartReader.malformed
            }
            try await fill()
        }
    }

    private func readHead() async throws(HTTPError) -> Part {
        // The line end that is already behind `position` may begin the blank line of an empty head.
        position -= 2
        let blank: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A]
        while true {
            let end = find(blank, from: position)
            guard (end ?? buffer.count) - position <= limits.headBytes else {
                throw MultipartReader.headTooLong
            }
            if let end {
                let lines = String(validating: buffer[position..<end], as: UTF8.self)
                position = end + blank.count
                guard let lines else { throw MultipartReader.malformed }
                return try MultipartReader.part(lines)
            }
            try await fill()
        }
    }

    private static func part(_ lines: String) throws(HTTPError) -> Part {
        var disposition: ParameterizedValue?
        var contentType: String?
        for line in lines.split(separator: "\r\n") {
            guard let colon = line.firstIndex(of: ":"), !line.utf8.contains(0) else {
                throw malformed
            }
            let name = String(line[..<colon])
            let value = line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
            guard name.isToken else { throw malformed }
            if name.equalsIgnoringCase("Content-Disposition") {
                guard disposition == nil else { throw malformed }
                disposition = ParameterizedValue(String(value))
            } else if name.equalsIgnoringCase("Content-Type") {
                contentType = String(value)
            }
        }
        guard let disposition, disposition.value.equalsIgnoringCase("form-data"),
            let name = disposition["name"]
        else { throw malformed }
        return Part(
            name: name,
            filename: disposition.extended("filename") ?? disposition["filename"],
            contentType: contentType
        )
    }

    // MARK: The buffer

    private func find(_ needle: [UInt8], from start: Int) -> Int? {
        guard start < buffer.count else { return nil }
        let found = buffer.withUnsafeBytes { bytes in
            tessera_find(bytes.baseAddress! + start, bytes.count - start, needle, needle.count)
        }
        return found < 0 ? nil : start + found
    }

    private func need(_ count: Int) async throws(HTTPError) {
        while buffer.count - position < count { try await fill() }
    }

    /// Appends the next piece of the body to what was not used yet.
    private func fill() async throws(HTTPError) {
        guard let piece = try await body.next() else { throw MultipartReader.malformed }
        buffer.removeFirst(position)
        position = 0
        buffer += piece
    }

    /// What follows the last delimiter means nothing, but must have arrived before an answer is sent.
    private func readOver() async throws(HTTPError) {
        buffer = []
        position = 0
        while try await body.next() != nil {}
    }
}
