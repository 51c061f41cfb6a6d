import Glibc

/// A blocking socket that sends exactly the bytes it is told to.
final class RawClient: @unchecked Sendable {
    // @unchecked: one task sends while another waits for it; only one receives.
    struct Answer: Equatable {
        var status: Int
        var head: String
        var body: String

        func header(_ name: String) -> String? {
            let lines = head.split(separator: "\r\n")
            let line = lines.first { $0.lowercased().hasPrefix(name.lowercased() + ":") }
            return line.map { String($0.drop { $0 != ":" }.dropFirst().drop { $0 == " " }) }
        }
    }

    private let descriptor: Int32
    private var received: [UInt8] = []

    init(port: Int, receiveBuffer: Int32? = nil, timeoutSeconds: Int = 10) {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        precondition(descriptor >= 0, "socket: \(errno)")
        var patience = timeval(tv_sec: timeoutSeconds, tv_usec: 0)
        setsockopt(
            descriptor,
            SOL_SOCKET,
            SO_RCVTIMEO,
            &patience,
            socklen_t(MemoryLayout<timeval>.size)
        )
        setsockopt(
            descriptor,
            SOL_SOCKET,
            SO_SNDTIMEO,
            &patience,
            socklen_t(MemoryLayout<timeval>.size)
        )
        if var receiveBuffer {
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receiveBuffer, 4)
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        precondition(status == 0, "connect to \(port): \(errno)")
    }

    deinit { close(descriptor) }

    /// False once the peer takes no more.
    @discardableResult
    func send(_ text: String) -> Bool { send(Array(text.utf8)) }

    @discardableResult
    func send(_ bytes: [UInt8]) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                Glibc.send(
                    descriptor,
                    buffer.baseAddress! + sent,
                    bytes.count - sent,
                    Int32(MSG_NOSIGNAL)
                )
            }
            guard count > 0 else { return false }
            sent += count
        }
        return true
    }

    func endSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Ends the connection with a reset.
    func reset() {
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(
            descriptor,
            SOL_SOCKET,
            SO_LINGER,
            &linger,
            socklen_t(MemoryLayout<Glibc.linger>.size)
        )
        shutdown(descriptor, Int32(SHUT_RDWR))
    }

    /// Reads once; false at the end, on a reset and when nothing came in time.
    @discardableResult
    func receive(_ size: Int = 65_536) -> Bool {
        var buffer = [UInt8](repeating: 0, count: size)
        let count = recv(descriptor, &buffer, size, 0)
        guard count > 0 else { return false }
        received += buffer[..<count]
        return true
    }

    /// The next `count` bytes; nil if the connection ends before.
    func bytes(_ count: Int) -> [UInt8]? {
        while received.count < count { guard receive() else { return nil } }
        defer { received.removeFirst(count) }
        return Array(received.prefix(count))
    }

    /// Everything until the peer closes.
    func receiveAll() -> String {
        while receive() {}
        defer { received = [] }
        return String(decoding: received, as: UTF8.self)
    }

    /// Whether the peer has closed without a further byte.
    func isClosedByPeer() -> Bool { received.isEmpty && !receive() }

    /// The next answer; nil if the connection ends before it is complete.
    func answer(toHead: Bool = false) -> Answer? {
        while true {
            if let end = headEnd() {
                let head = String(decoding: received[..<end], as: UTF8.self)
                let status = Int(head.split(separator: " ").dropFirst().first ?? "") ?? 0
                received.removeFirst(end)
                var answer = Answer(status: status, head: head, body: "")
                if toHead || status < 200 || status == 204 || status == 304 { return answer }
                guard let body = self.body(of: answer) else { return nil }
                answer.body = body
                return answer
            }
            guard receive() else { return nil }
        }
    }

    private func headEnd() -> Int? {
        guard received.count >= 4 else { return nil }
        for index in 0...received.count - 4
        where received[index..<index + 4].elementsEqual([13, 10, 13, 10]) {
            return index + 4
        }
        return nil
    }

    private func body(of answer: Answer) -> String? {
        if answer.header("Transfer-Encoding") == "chunked" { return chunks() }
        guard let length = answer.header("Content-Length").flatMap({ Int($0) }) else {
            return receiveAll()
        }
        guard let bytes = take(length) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    private func chunks() -> String? {
        var body: [UInt8] = []
        while true {
            guard let line = takeLine(), let size = Int(line, radix: 16),
                let piece = take(size), take(2) != nil
            else { return nil }
            if size == 0 { return String(decoding: body, as: UTF8.self) }
            body += piece
        }
    }

    private func takeLine() -> String? {
        while true {
            if let end = received.firstIndex(of: 10), end > 0 {
                defer { received.removeFirst(end + 1) }
                return String(decoding: received[..<(end - 1)], as: UTF8.self)
            }
            guard receive() else { return nil }
        }
    }

    private func take(_ count: Int) -> [UInt8]? {
        while received.count < count { guard receive() else { return nil } }
        defer { received.removeFirst(count) }
        return Array(received[..<count])
    }
}
