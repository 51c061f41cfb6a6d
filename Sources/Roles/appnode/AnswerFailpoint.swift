import HTTP
import Processes

/// Ends the process when a request is done and before a byte of its answer is sent.
///
/// Only where failpoints are allowed, and only for a request that asks for it: a test of what a client gets
/// which repeats a committed request with its key.
enum AnswerFailpoint {
    static let header = "X-Tessera-Failpoint"
    static func wrap(_ handler: @escaping Handler) -> Handler {
        { request in
            let response = try await handler(request)
            if request.header(header) == "answer" { Failpoint.kill() }
            return response
        }
    }
}
