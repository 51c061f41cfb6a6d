/// Reads what a NATS server says: lines, and messages with their payloads.
///
/// A value without I/O: it is fed bytes in any pieces.
struct BusReader {
    enum Line: Equatable {
        /// What the server is, as JSON; the first line, and again when it changes.
        case info
        case message(subscription: Int, payload: [UInt8])
        case ping
        case pong
        case okay
        case refusal(String)
    }

    struct Fault: Error, Equatable {
        let reason: String
    }

    /// The server's own line about itself is the longest.
    static let lineBytes = 65_536
    /// As much as a server takes by default.
    static let payloadBytes = 1 << 20

    private var partial: [UInt8] = []
    /// The message whose payload is awaited.
    private var awaited: (subscription: Int, count: Int)?

    mutating func feed(
        _ bytes: UnsafeBufferPointer<UInt8>,
        take: (Line) -> Void
    ) throws(Fault) {
        if partial.isEmpty {
            let used = try read(bytes, take)
            if used < bytes.count { partial = Array(bytes[used...]) }
            return
        }
        partial.append(contentsOf: bytes)
        let pending = partial
        partial = []
        let used = try pending.withUnsafeBufferPointer { (all) throws(Fault) in
            try read(all, take)
        }
        if used < pending.count { partial = used == 0 ? pending : Array(pending[used...]) }
    }

    /// Returns how many bytes were used up.
    private mutating func read(
        _ input: UnsafeBufferPointer<UInt8>,
        _ take: (Line) -> Void
    ) throws(Fault) -> Int {
        var used = 0
        while used < input.count {
            let rest = UnsafeBufferPointer(rebasing: input[used...])
            if let message = awaited {
                guard rest.count >= message.count + 2 else { return used }
                guard rest[message.count] == 13, rest[message.count + 1] == 10 else {
                    throw Fault(reason: "a payload of another length than it was told")
                }
                awaited = nil
                used += message.count + 2
                take(
                    .message(
                        subscription: message.subscription,
                        payload: Array(rest[..<message.count])
                    )
                )
                continue
            }
            guard let end = rest.firstIndex(of: 10) else {
                guard rest.count <= Self.lineBytes else { throw Fault(reason: "an endless line") }
                return used
            }
            guard end > 0, rest[end - 1] == 13, end <= Self.lineBytes else {
                throw Fault(reason: "a line without an end")
            }
            used += end + 1
            if let line = try line(rest[..<(end - 1)]) { take(line) }
        }
        return used
    }

    private mutating func line(_ bytes: Slice<UnsafeBufferPointer<UInt8>>) throws(Fault) -> Line? {
        let text = String(decoding: bytes, as: UTF8.self)
        let words = text.split(separator: " ", omittingEmptySubsequences: true)
        switch words.first?.uppercased() {
        case "MSG":
            guard (4...5).contains(words.count), let subscription = Int(words[2]),
                let count = Int(words[words.count - 1]), (0...Self.payloadBytes).contains(count)
            else { throw Fault(reason: "a malformed message: \(text.prefix(80))") }
            awaited = (subscription, count)
            return nil
        case "PING": return .ping
        case "PONG": return .pong
        case "INFO": return .info
        case "+OK": return .okay
        case "-ERR": return .refusal(String(text.dropFirst(5)))
        default: throw Fault(reason: "an unknown line: \(text.prefix(80))")
        }
    }
}
