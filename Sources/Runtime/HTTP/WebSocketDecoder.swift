/// Why a peer's frames cannot be read on.
struct WebSocketFault: Error, Equatable {
    let code: WebSocketCloseCode
    let reason: String

    init(_ code: WebSocketCloseCode, _ reason: String) {
        self.code = code
        self.reason = reason
    }
}

/// Turns a client's bytes into messages (RFC 6455, section 5), strictly.
///
/// A value without I/O: it is fed bytes in any pieces and hands out what is complete. Between two frames it
/// holds no memory; text is checked as it comes, so that a wrong byte is refused before the message ends.
struct WebSocketDecoder {
    enum Event: Equatable {
        case text([UInt8])
        case binary([UInt8])
        case ping([UInt8])
        case pong([UInt8])
        case close(WebSocketCloseCode, reason: String)
    }

    private enum State {
        /// Reads a head, of which so many bytes are there.
        case head(have: Int)
        case payload
        /// After a close frame nothing counts.
        case closed
    }

    /// The most bytes of a message, in however many frames.
    private let messageBytes: Int

    private var state = State.head(have: 0)
    /// The head of the current frame, as far as it has come: two bytes, the longer length, the mask.
    private var head: (UInt64, UInt64) = (0, 0)
    private var opcode = WebSocketOpcode.continuation
    private var isFinal = true
    private var remaining = 0
    private var mask = Mask(key: 0)

    /// What the message under way is; nil between two messages.
    private var kind: WebSocketOpcode?
    private var message: [UInt8] = []
    private var control: [UInt8] = []
    private var text = UTF8Check()

    init(messageBytes: Int) { self.messageBytes = messageBytes }

    /// Decodes all of `input`; `take` may be called several times.
    mutating func feed(
        _ input: UnsafeBufferPointer<UInt8>,
        take: (Event) -> Void
    ) throws(WebSocketFault) {
        var index = 0
        while index < input.count {
            switch state {
            case .closed: return
            case .head(let have):
                set(have, input[index])
                index += 1
                state = .head(have: have + 1)
                guard have + 1 >= 2 else { continue }
                if have + 1 == 2 { try check() }
                guard have + 1 == headLength else { continue }
                try begin()
            case .payload:
                let run = min(remaining, input.count - index)
                try append(UnsafeBufferPointer(rebasing: input[index..<index + run]))
                remaining -= run
                index += run
            }
            if case .payload = state, remaining == 0 {
                state = .head(have: 0)
                try finish(take)
            }
        }
    }

    // MARK: Heads

    private mutating func set(_ place: Int, _ byte: UInt8) {
        withUnsafeMutableBytes(of: &head) { $0[place] = byte }
    }

    private func headByte(_ place: Int) -> UInt8 {
        withUnsafeBytes(of: head) { $0[place] }
    }

    /// Bytes of the length beyond the first seven bits.
    private var lengthBytes: Int {
        switch headByte(1) & 0x7F {
        case 126: 2
        case 127: 8
        default: 0
        }
    }

    /// With the mask, which every frame of a client has.
    private var headLength: Int { 2 + lengthBytes + 4 }

    /// What the first two bytes alone can get wrong.
    private mutating func check() throws(WebSocketFault) {
        let first = headByte(0)
        guard first & 0x70 == 0 else {
            throw WebSocketFault(.protocolError, "a reserved bit is set")
        }
        guard let opcode = WebSocketOpcode(rawValue: first & 0x0F) else {
            throw WebSocketFault(.protocolError, "an unknown opcode")
        }
        guard headByte(1) & 0x80 != 0 else {
            throw WebSocketFault(.protocolError, "a frame without a mask")
        }
        self.opcode = opcode
        isFinal = first & 0x80 != 0
        if opcode.isControl {
            guard isFinal else {
                throw WebSocketFault(.protocolError, "a control frame in fragments")
            }
            guard lengthBytes == 0 else {
                throw WebSocketFault(.protocolError, "a control frame that is too long")
            }
        } else if (opcode == .continuation) != (kind != nil) {
            throw WebSocketFault(
                .protocolError,
                kind == nil ? "a continuation of nothing" : "a message inside of another"
            )
        }
    }

    /// The head is complete: what follows is its payload.
    private mutating func begin() throws(WebSocketFault) {
        var length = UInt64(headByte(1) & 0x7F)
        if lengthBytes > 0 {
            length = 0
            for place in 0..<lengthBytes { length = length << 8 | UInt64(headByte(2 + place)) }
            guard length >> 63 == 0, length >= (lengthBytes == 2 ? 126 : 65_536) else {
                throw WebSocketFault(.protocolError, "a length in more bytes than it needs")
            }
        }
        var key: UInt32 = 0
        for place in 0..<4 {
            key |= UInt32(headByte(2 + lengthBytes + place)) << UInt32(8 * place)
        }
        mask = Mask(key: key)
        if !opcode.isControl {
            guard length <= UInt64(messageBytes - message.count) else {
                throw WebSocketFault(.tooBig, "a message of more than \(messageBytes) bytes")
            }
            if let begun = WebSocketDecoder.kind(of: opcode) { kind = begun }
        }
        remaining = Int(length)
        state = .payload
    }

    private static func kind(of opcode: WebSocketOpcode) -> WebSocketOpcode? {
        opcode == .continuation ? nil : opcode
    }

    // MARK: Payloads

    private mutating func append(_ bytes: UnsafeBufferPointer<UInt8>) throws(WebSocketFault) {
        if opcode.isControl {
            mask.remove(from: bytes, into: &control)
            return
        }
        let start = message.count
        mask.remove(from: bytes, into: &message)
        guard kind == .text else { return }
        let isText = message.withUnsafeBufferPointer {
            text.take(UnsafeBufferPointer(rebasing: $0[start...]))
        }
        guard isText else { throw WebSocketFault(.invalidText, "a text that is not UTF-8") }
    }

    /// A frame is complete.
    private mutating func finish(_ take: (Event) -> Void) throws(WebSocketFault) {
        switch opcode {
        case .ping: take(.ping(takeControl()))
        case .pong: take(.pong(takeControl()))
        case .close:
            let event = try WebSocketDecoder.close(takeControl())
            state = .closed
            message = []
            take(event)
        case .continuation, .text, .binary:
            guard isFinal else { return }
            guard text.isComplete else {
                throw WebSocketFault(.invalidText, "a text that ends inside of a character")
            }
            let whole = message
            message = []
            let isText = kind == .text
            kind = nil
            take(isText ? .text(whole) : .binary(whole))
        }
    }

    private mutating func takeControl() -> [UInt8] {
        defer { control = [] }
        return control
    }

    private static func close(_ payload: [UInt8]) throws(WebSocketFault) -> Event {
        if payload.isEmpty { return .close(.none, reason: "") }
        guard payload.count >= 2 else {
            throw WebSocketFault(.protocolError, "half of a close code")
        }
        let code = WebSocketCloseCode(rawValue: UInt16(payload[0]) << 8 | UInt16(payload[1]))
        guard code.mayBeSent else { throw WebSocketFault(.protocolError, "no close code") }
        var check = UTF8Check()
        let isText = payload.withUnsafeBufferPointer {
            check.take(UnsafeBufferPointer(rebasing: $0[2...]))
        }
        guard isText, check.isComplete else {
            throw WebSocketFault(.invalidText, "a reason that is not UTF-8")
        }
        return .close(code, reason: String(decoding: payload[2...], as: UTF8.self))
    }
}

/// The mask over a client's payload (RFC 6455, section 5.3).
private struct Mask {
    let key: UInt32
    private var offset = 0

    init(key: UInt32) { self.key = key }

    mutating func remove(
        from bytes: UnsafeBufferPointer<UInt8>,
        into target: inout [UInt8]
    ) {
        target.reserveCapacity(target.count + bytes.count)
        for byte in bytes {
            target.append(byte ^ UInt8(truncatingIfNeeded: key >> UInt32(8 * (offset & 3))))
            offset += 1
        }
    }
}
