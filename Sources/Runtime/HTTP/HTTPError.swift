/// A failure that the server itself finds in a request or its body, with the status that answers it.
package struct HTTPError: Error, Sendable, Equatable {
    package let status: Status
    /// What was wrong, in words safe for the stranger who sent it.
    package let detail: String
    /// Headers that must go with the answer, such as `Allow` or `Retry-After`.
    package var headers: Headers

    package init(_ status: Status, _ detail: String, headers: Headers = [:]) {
        self.status = status
        self.detail = detail
        self.headers = headers
    }

    /// The client is gone: nobody will read an answer.
    package static let clientClosed = HTTPError(499, "The client closed the connection.")

    static let internalError = HTTPError(500, "The server failed to answer this request.")

    static let stopping = HTTPError(
        503,
        "The server stops.",
        headers: ["Retry-After": "1"]
    )

    static let timedOut = HTTPError(
        503,
        "The server took too long to answer this request.",
        headers: ["Retry-After": "1"]
    )
}

/// An error that a ``ByteStream`` may end with.
package protocol StreamFailure: Error {
    static func tooLarge(limit: Int) -> Self
    static var cancelled: Self { get }
}

extension HTTPError: StreamFailure {
    package static var cancelled: HTTPError { .clientClosed }

    package static func tooLarge(limit: Int) -> HTTPError {
        HTTPError(413, "The body is larger than \(limit) bytes.")
    }
}
