/// Takes the chunked framing off a body (RFC 9112, section 7.1), strictly.
///
/// Every line ends in CR LF, a size has 1 to 15 hexadecimal digits and nothing before them, extensions and
/// trailers are read over within a bound. A value without I/O: it is fed bytes and hands out pieces.
struct ChunkedDecoder {
    enum Failure: Error, Equatable {
        case malformed
        case overhead
    }

    private enum State {
        case size(digits: Int)
        case afterSize
        case extensions
        case sizeEnd
        case data
        case dataEnd
        case dataEndLF
        case trailerStart
        case trailer
        case trailerLF
        case lastLF
        case done
    }

    private var state = State.size(digits: 0)
    private var remaining = 0
    private var overhead: Int

    /// `overhead` bounds the bytes of extensions and trailers in the whole body.
    init(overhead: Int) { self.overhead = overhead }

    var isDone: Bool {
        if case .done = state { true } else { false }
    }

    /// Decodes `input`, hands each run of body bytes to `piece`, and returns how many bytes belonged to the
    /// body; less than all of them only when the body has ended.
    mutating func feed(
        _ input: UnsafeBufferPointer<UInt8>,
        piece: (UnsafeBufferPointer<UInt8>) -> Void
    ) throws(Failure) -> Int {
        var index = 0
        while index < input.count {
            if case .done = state { return index }
            if case .data = state {
                let run = min(remaining, input.count - index)
                piece(UnsafeBufferPointer(rebasing: input[index..<index + run]))
                remaining -= run
                index += run
                if remaining == 0 { state = .dataEnd }
            } else {
                state = try next(input[index])
                index += 1
            }
        }
        return index
    }

    /// The state after one byte that is not body data.
    private mutating func next(_ byte: UInt8) throws(Failure) -> State {
        switch state {
        case .size(let digits): return try size(byte, digits: digits)
        case .afterSize, .extensions: return try chunkExtension(byte)
        case .sizeEnd:
            guard byte == 0x0A else { throw .malformed }
            return remaining == 0 ? .trailerStart : .data
        case .dataEnd:
            guard byte == 0x0D else { throw .malformed }
            return .dataEndLF
        case .dataEndLF:
            guard byte == 0x0A else { throw .malformed }
            return .size(digits: 0)
        case .trailerStart:
            if byte == 0x0D { return .lastLF }
            guard byte.isTokenByte else { throw .malformed }
            return try trailer(byte)
        case .trailer: return try trailer(byte)
        case .trailerLF:
            guard byte == 0x0A else { throw .malformed }
            return .trailerStart
        case .lastLF:
            guard byte == 0x0A else { throw .malformed }
            return .done
        case .data, .done: preconditionFailure("no framing byte is expected here")
        }
    }

    private mutating func size(_ byte: UInt8, digits: Int) throws(Failure) -> State {
        if let value = byte.hexValue {
            guard digits < 15 else { throw .malformed }
            remaining = remaining << 4 | Int(value)
            return .size(digits: digits + 1)
        }
        guard digits > 0 else { throw .malformed }
        switch byte {
        case 0x0D: return .sizeEnd
        case UInt8(ascii: ";"): return .extensions
        case 0x20, 0x09: return .afterSize
        default: throw .malformed
        }
    }

    private mutating func chunkExtension(_ byte: UInt8) throws(Failure) -> State {
        try spend()
        switch (state, byte) {
        case (.extensions, 0x0D): return .sizeEnd
        case (.afterSize, 0x20), (.afterSize, 0x09): return .afterSize
        case (.afterSize, UInt8(ascii: ";")): return .extensions
        case (.afterSize, _): throw .malformed
        default:
            guard byte >= 0x20 && byte != 0x7F || byte == 0x09 else { throw .malformed }
            return .extensions
        }
    }

    private mutating func trailer(_ byte: UInt8) throws(Failure) -> State {
        try spend()
        if byte == 0x0D { return .trailerLF }
        guard byte >= 0x20 && byte != 0x7F || byte == 0x09 else { throw .malformed }
        return .trailer
    }

    private mutating func spend() throws(Failure) {
        overhead -= 1
        guard overhead >= 0 else { throw .overhead }
    }
}
