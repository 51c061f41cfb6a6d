import EventLoops

/// Bytes that arrive over time: a request's body on the server, an answer's body on the client.
///
/// Reading drives the sender: while nobody reads and the buffer is full, the connection stops reading its
/// socket. One task reads, on the stream's loop, once through.
package final class ByteStream<Failure: StreamFailure>: AsyncSequence, @unchecked Sendable {
    // @unchecked: touched on its connection's loop only.
    package typealias Element = [UInt8]

    /// The length that the sender declared; nil when only the end of the stream tells.
    package let declaredLength: Int?

    /// The most bytes that may be read; the stream fails beyond it.
    package var limit: Int

    /// Bytes that arrived and were not read yet.
    private(set) var buffered: [UInt8] = []

    /// Bytes that have arrived so far.
    private(set) var received = 0

    private var end: End?
    private var waiter: UnsafeContinuation<Void, Never>?
    private let loop: EventLoop?
    weak var source: (any ByteSource)?

    private enum End {
        case complete
        case failed(Failure)
    }

    init(declaredLength: Int?, limit: Int, source: any ByteSource, loop: EventLoop) {
        self.declaredLength = declaredLength
        self.limit = limit
        self.source = source
        self.loop = loop
    }

    /// A stream that holds all its bytes from the start.
    package init(bytes: [UInt8], limit: Int = .max) {
        declaredLength = bytes.count
        self.limit = limit
        buffered = bytes
        received = bytes.count
        end = .complete
        loop = nil
    }

    deinit {
        if end == nil { source?.abandoned() }
    }

    package var isComplete: Bool {
        if case .complete = end { true } else { false }
    }

    /// Whether the stream can give no more than what is buffered.
    var isEnded: Bool { end != nil }

    package func makeAsyncIterator() -> Iterator { Iterator(stream: self) }

    package struct Iterator: AsyncIteratorProtocol {
        let stream: ByteStream

        package mutating func next() async throws(Failure) -> [UInt8]? {
            try await stream.next()
        }

        package mutating func next(
            isolation: isolated (any Actor)?
        ) async throws(Failure) -> [UInt8]? {
            try await stream.next()
        }
    }

    /// The next piece, of any size above zero; nil at the end.
    package func next() async throws(Failure) -> [UInt8]? {
        if let declaredLength, declaredLength > limit { throw .tooLarge(limit: limit) }
        while true {
            if !buffered.isEmpty { return try takeBuffered() }
            switch end {
            case .complete: return nil
            case .failed(let failure): throw failure
            case nil: await arrival()
            }
        }
    }

    /// All bytes, if they are at most `bound` (and at most ``limit``).
    package func collect(upTo bound: Int) async throws(Failure) -> [UInt8] {
        let bound = Swift.min(bound, limit)
        if let declaredLength, declaredLength > bound { throw .tooLarge(limit: bound) }
        var all = try await next() ?? []
        while all.count <= bound, let more = try await next() { all += more }
        guard all.count <= bound else { throw .tooLarge(limit: bound) }
        return all
    }

    private func takeBuffered() throws(Failure) -> [UInt8] {
        guard received <= limit else { throw .tooLarge(limit: limit) }
        let piece = buffered
        buffered = []
        source?.bytesTaken()
        return piece
    }

    private func arrival() async {
        precondition(waiter == nil, "two tasks read one stream")
        source?.bytesWanted()
        guard buffered.isEmpty, end == nil else { return }
        await withTaskCancellationHandler {
            await withUnsafeContinuation { waiter = $0 }
        } onCancel: {
            loop?.execute { self.cancel() }
        }
    }

    /// The reader was cancelled: nobody will read the rest.
    func cancel() {
        guard end == nil else { return }
        close(.failed(.cancelled))
        source?.abandoned()
    }

    // MARK: The connection's side

    func append(_ bytes: UnsafeBufferPointer<UInt8>) {
        guard end == nil, bytes.count > 0 else { return }
        buffered.append(contentsOf: bytes)
        received += bytes.count
        wake()
    }

    func complete() { close(.complete) }

    func fail(_ failure: Failure) { close(.failed(failure)) }

    private func close(_ how: End) {
        guard end == nil else { return }
        end = how
        wake()
    }

    private func wake() {
        waiter.take()?.resume()
    }
}

/// The connection that fills a ``ByteStream``.
protocol ByteSource: AnyObject {
    /// A reader waits and nothing is buffered.
    func bytesWanted()
    /// A reader took what was buffered.
    func bytesTaken()
    /// Nobody will read the rest. May be called off the loop.
    func abandoned()
}

/// The body of a request.
///
/// `for try await piece in request.body`, or `collect(upTo:)`. A client that waits for `100 Continue` gets
/// it when the first piece is asked for.
package typealias RequestBody = ByteStream<HTTPError>
