/// Finds the end of a message body.
enum BodyDecoder {
    case length(remaining: Int)
    case chunked(ChunkedDecoder)
    /// All that comes until the connection closes; only answers may be framed so.
    case untilClose

    var isDone: Bool {
        switch self {
        case .length(let remaining): remaining == 0
        case .chunked(let decoder): decoder.isDone
        case .untilClose: false
        }
    }

    /// Hands the body bytes in `input` to `piece` and returns how many bytes of input the body took.
    mutating func feed(
        _ input: UnsafeBufferPointer<UInt8>,
        piece: (UnsafeBufferPointer<UInt8>) -> Void
    ) throws(ChunkedDecoder.Failure) -> Int {
        switch self {
        case .length(let remaining):
            let run = min(remaining, input.count)
            if run > 0 { piece(UnsafeBufferPointer(rebasing: input[0..<run])) }
            self = .length(remaining: remaining - run)
            return run
        case .chunked(var decoder):
            // The value moves out while it works, so that the enum never holds two copies.
            defer { self = .chunked(decoder) }
            return try decoder.feed(input, piece: piece)
        case .untilClose:
            piece(input)
            return input.count
        }
    }
}
