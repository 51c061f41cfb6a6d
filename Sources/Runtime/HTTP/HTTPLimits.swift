/// What a server lets one client do.
package struct HTTPLimits: Sendable {
    /// The request line and all header lines together; more is answered with 431.
    package var headBytes = 16_384
    /// Header fields in one request; more is answered with 431.
    package var headers = 100
    /// The request target; more is answered with 414.
    package var targetBytes = 8_192
    /// The request body, unless its route says otherwise; more is answered with 413.
    package var bodyBytes = 1_048_576
    /// Chunk extensions and trailers of one chunked body together.
    package var chunkOverheadBytes = 16_384

    /// From the first byte of a head (or from the accept) to its end.
    package var headTimeout = Duration.seconds(10)
    /// The window in which ``minimumRate`` must be met, by request bodies and by readers of answers.
    package var rateWindow = Duration.seconds(10)
    /// Bytes a second that a client must send of a body, or read of an answer.
    package var minimumRate = 512
    /// Between an answer and the next request.
    package var idleTimeout = Duration.seconds(75)
    /// From the end of the request to the start of its answer; then 503, and the handler is cancelled.
    package var requestTimeout = Duration.seconds(30)
    /// How long the rest of a refused request is read and dropped, so that its answer arrives.
    package var lingerTimeout = Duration.seconds(2)

    /// Bytes of further requests that are kept while one is answered; then reading pauses.
    package var pipelinedBytes = 65_536
    /// Bytes of a body kept for a handler that does not read; then reading pauses.
    package var bodyBufferBytes = 262_144
    /// Unsent bytes of one connection above which writers wait and no further request begins.
    package var writeQueueBytes = 262_144
    /// The unread rest of a body that is read and dropped to keep a connection alive.
    package var discardBytes = 65_536
    /// How long an idle connection may still bring a request while the server drains.
    package var drainGrace = Duration.milliseconds(500)
    /// Open connections of one loop; above it new ones are closed at once.
    package var connections = 10_000

    package init() {}
}
