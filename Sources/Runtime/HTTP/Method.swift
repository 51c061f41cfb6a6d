/// The request methods that routes may serve; any other is answered with 501.
package enum Method: String, Sendable, Hashable, CaseIterable {
    case get = "GET"
    case head = "HEAD"
    case post = "POST"
    case put = "PUT"
    case patch = "PATCH"
    case delete = "DELETE"
    case options = "OPTIONS"

    /// The method of these bytes, compared exactly: methods are case-sensitive.
    init?(bytes: UnsafeBufferPointer<UInt8>) {
        switch (bytes.count, bytes.first) {
        case (3, UInt8(ascii: "G")) where bytes.equals("GET"): self = .get
        case (3, UInt8(ascii: "P")) where bytes.equals("PUT"): self = .put
        case (4, UInt8(ascii: "P")) where bytes.equals("POST"): self = .post
        case (4, UInt8(ascii: "H")) where bytes.equals("HEAD"): self = .head
        case (5, UInt8(ascii: "P")) where bytes.equals("PATCH"): self = .patch
        case (6, UInt8(ascii: "D")) where bytes.equals("DELETE"): self = .delete
        case (7, UInt8(ascii: "O")) where bytes.equals("OPTIONS"): self = .options
        default: return nil
        }
    }

    /// Whether the request asks and changes nothing.
    package var isSafe: Bool { self == .get || self == .head || self == .options }

    /// Whether sending the request twice has the effect of sending it once.
    package var isIdempotent: Bool { self != .post && self != .patch }

    /// The place of the method in tables that have one entry for each.
    var slot: Int {
        switch self {
        case .get: 0
        case .head: 1
        case .post: 2
        case .put: 3
        case .patch: 4
        case .delete: 5
        case .options: 6
        }
    }
}
