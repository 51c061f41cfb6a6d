extension HTTPServer {
    /// The answer to what a handler threw.
    func response(to error: any Error, of request: Request) -> Response {
        if let error = error as? HTTPError { return hooks.errorResponse(error, request) }
        if error is CancellationError { return hooks.errorResponse(.clientClosed, request) }
        note(error, of: request)
        return hooks.errorResponse(.internalError, request)
    }

    /// Reports an error that is not the client's doing.
    func note(_ error: any Error, of request: Request) {
        if error is HTTPError || error is CancellationError { return }
        hooks.failed?(error, request)
    }
}
