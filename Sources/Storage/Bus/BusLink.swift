import EventLoops
import JSON

/// One connection to the server, from its opening to its end.
final class BusLink: @unchecked Sendable {
    // @unchecked: touched on its loop only.
    enum Event {
        case connected
        case message(subscription: Int, payload: [UInt8])
        /// Nothing follows.
        case lost(String)
    }

    private let loop: EventLoop
    private let settings: BusSettings
    private var tell: ((Event) -> Void)?
    private var socket: TCPSocket?
    private var reader = BusReader()
    private var isOpen = false
    /// When the server was heard last.
    private var heardAt: UInt64
    private var clock: LoopTimer?

    init(loop: EventLoop, settings: BusSettings, tell: @escaping (Event) -> Void) {
        self.loop = loop
        self.settings = settings
        self.tell = tell
        heardAt = loop.milliseconds
        clock = loop.after(settings.connectTimeout) { [weak self] in
            self?.fail("no answer in time")
        }
        NameLookup.start(settings.host, loop: loop) { [self] addresses, failure in
            guard self.tell != nil else { return }
            if let failure { return fail(failure) }
            open(addresses[0])
        }
    }

    var queuedBytes: Int { socket?.queuedBytes ?? 0 }

    func send(_ bytes: [UInt8]) {
        guard let socket else { return }
        let status = bytes.withUnsafeBufferPointer { socket.write($0) }
        if status < 0 { fail(TCPSocket.describe(status)) }
    }

    /// Ends without a word to whoever listens.
    func close() {
        tell = nil
        end()
    }

    private func end() {
        clock?.cancel()
        clock = nil
        socket?.close()
        socket = nil
    }

    private func fail(_ reason: String) {
        guard let tell = tell.take() else { return }
        end()
        tell(.lost(reason))
    }

    private func open(_ address: String) {
        let socket = TCPSocket(loop: loop, owner: self)
        self.socket = socket
        socket.connect(address: address, port: settings.port) { [weak self] status in
            guard let self, tell != nil else { return }
            if status < 0 { return fail(TCPSocket.describe(status)) }
            socket.startReading()
        }
    }

    /// Who we are, and a question whose answer says that we may come in.
    private func introduce() {
        var json = JSONWriter()
        json.object { json in
            json.field("verbose", false)
            json.field("pedantic", false)
            json.field("tls_required", false)
            json.field("name", "tessera")
            json.field("lang", "swift")
            json.field("version", "1")
            json.field("protocol", 1)
            if let user = settings.user { json.field("user", user) }
            if let password = settings.password { json.field("pass", password) }
        }
        send(Array("CONNECT ".utf8) + json.bytes + Array("\r\nPING\r\n".utf8))
    }

    private func heard(_ line: BusReader.Line) {
        switch line {
        case .info: if !isOpen { introduce() }
        case .ping: send(Array("PONG\r\n".utf8))
        case .pong:
            guard !isOpen else { return }
            isOpen = true
            clock?.cancel()
            watch()
            tell?(.connected)
        case .message(let subscription, let payload):
            tell?(.message(subscription: subscription, payload: payload))
        case .refusal(let reason): fail(reason)
        case .okay: break
        }
    }

    /// A server that is stopped keeps its sockets: only silence shows it.
    private func watch() {
        clock = loop.after(settings.pingInterval) { [weak self] in
            guard let self, tell != nil else { return }
            let silence = Duration.milliseconds(Int64(loop.milliseconds &- heardAt))
            if silence >= settings.silence { return fail("it does not answer") }
            send(Array("PING\r\n".utf8))
            if tell != nil { watch() }
        }
    }
}

extension BusLink: SocketOwner {
    func socketRead(_ bytes: UnsafeBufferPointer<UInt8>) {
        heardAt = loop.milliseconds
        do throws(BusReader.Fault) {
            try reader.feed(bytes) { heard($0) }
        } catch {
            fail(error.reason)
        }
    }

    func socketEnded() { fail("it closed the connection") }
    func socketFailed(_ code: Int32) { fail(TCPSocket.describe(code)) }
    func socketWrote() {}
    func socketClosed() {}
}
