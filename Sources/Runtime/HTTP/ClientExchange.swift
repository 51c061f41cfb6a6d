/// One request of a client and the way to its caller, who is answered exactly once.
final class ClientExchange: @unchecked Sendable {
    // @unchecked: touched on its client's loop only.
    typealias Outcome = Result<ClientResponse, HTTPClientError>

    let request: ClientRequest
    var continuation: UnsafeContinuation<Outcome, Never>?
    /// The connection that carries it.
    var connection: ClientConnection?
    /// It has been sent once and failed on a connection that the server had closed.
    var isRetry = false
    private(set) var isOver = false

    init(_ request: ClientRequest) { self.request = request }

    func succeed(_ response: ClientResponse) { end(.success(response)) }

    /// Gives the exchange up: its connection cannot be used for another.
    func fail(_ error: HTTPClientError) {
        guard !isOver else { return }
        let carrier = connection
        end(.failure(error))
        carrier?.abort(error)
    }

    private func end(_ outcome: Outcome) {
        guard !isOver else { return }
        isOver = true
        connection = nil
        continuation.take()?.resume(returning: outcome)
    }
}
