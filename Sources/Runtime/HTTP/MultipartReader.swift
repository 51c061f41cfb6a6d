/// Reads a `multipart/form-data` body part by part, as it arrives.
package final class MultipartReader: @unchecked Sendable {
    // @unchecked: touched on the loop of its request only.
    package struct Limits: Sendable {
        package var parts = 100
        package var headBytes = 8_192

        package init() {}
    }

    /// One part; its chunks come from ``MultipartReader/nextChunk()`` until that returns nil.
    package struct Part: Sendable, Equatable {
        package let name: String
        package let filename: String?
        package let contentType: String?
    }

    /// Throws 415 unless `contentType` is `multipart/form-data` with a boundary.
    package init(
        _ body: RequestBody,
        contentType: String?,
        limits: Limits = Limits()
    ) throws(HTTPError) {
        throw HTTPError(415, "The body is not multipart/form-data.")
    }

    /// The next part, after what is left of the current one has been skipped; nil after the last.
    package func nextPart() async throws(HTTPError) -> Part? { nil }

    /// The next bytes of the current part; nil at its end.
    package func nextChunk() async throws(HTTPError) -> [UInt8]? { nil }

    /// All bytes of the current part, if they are at most `bound`; else 413.
    package func collect(upTo bound: Int) async throws(HTTPError) -> [UInt8] { [] }
}
