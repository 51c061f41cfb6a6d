/// What a frame carries (RFC 6455, section 5.2).
enum WebSocketOpcode: UInt8 {
    case continuation = 0
    case text = 1
    case binary = 2
    case close = 8
    case ping = 9
    case pong = 10

    var isControl: Bool { rawValue >= 8 }
}

/// Why a WebSocket ends.
package struct WebSocketCloseCode: Sendable, Hashable, ExpressibleByIntegerLiteral {
    package let rawValue: UInt16

    package init(rawValue: UInt16) { self.rawValue = rawValue }
    package init(integerLiteral value: UInt16) { rawValue = value }

    package static let normal: Self = 1000
    /// The server stops, or the client leaves the page.
    package static let goingAway: Self = 1001
    package static let protocolError: Self = 1002
    package static let unsupportedData: Self = 1003
    /// No code came: never sent.
    package static let none: Self = 1005
    /// The connection broke: never sent.
    package static let abnormal: Self = 1006
    package static let invalidText: Self = 1007
    package static let refused: Self = 1008
    package static let tooBig: Self = 1009
    package static let internalError: Self = 1011
    package static let tryLater: Self = 1013

    /// Whether it may stand in a close frame: those that the protocol or its registry define, and those of
    /// applications.
    var mayBeSent: Bool {
        switch rawValue {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }
}

/// Frames as a server sends them: whole, unmasked.
///
/// The same bytes go to any number of clients, so that a message to many is made once.
package struct WebSocketFrame: Sendable {
    package let bytes: [UInt8]

    /// The most that a control frame may carry.
    static let controlBytes = 125

    init(_ opcode: WebSocketOpcode, _ payload: some Collection<UInt8>) {
        precondition(!opcode.isControl || payload.count <= Self.controlBytes)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(payload.count + 10)
        bytes.append(0x80 | opcode.rawValue)
        switch payload.count {
        case ..<126:
            bytes.append(UInt8(payload.count))
        case ..<65_536:
            bytes.append(126)
            bytes.append(UInt8(payload.count >> 8))
            bytes.append(UInt8(payload.count & 255))
        default:
            bytes.append(127)
            for shift in stride(from: 56, through: 0, by: -8) {
                bytes.append(UInt8(payload.count >> shift & 255))
            }
        }
        bytes += payload
        self.bytes = bytes
    }

    /// A text message; the bytes must be UTF-8.
    package static func text(_ utf8: some Collection<UInt8>) -> WebSocketFrame {
        WebSocketFrame(.text, utf8)
    }

    package static func binary(_ bytes: some Collection<UInt8>) -> WebSocketFrame {
        WebSocketFrame(.binary, bytes)
    }

    /// A reason that is too long for a control frame is cut between two characters.
    static func close(_ code: WebSocketCloseCode, reason: String = "") -> WebSocketFrame {
        guard code.mayBeSent else { return WebSocketFrame(.close, []) }
        var payload = [UInt8(code.rawValue >> 8), UInt8(code.rawValue & 255)]
        for character in reason {
            guard payload.count + character.utf8.count <= controlBytes else { break }
            payload += character.utf8
        }
        return WebSocketFrame(.close, payload)
    }
}
