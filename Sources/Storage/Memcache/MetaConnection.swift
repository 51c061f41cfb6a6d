import EventLoops

/// What a connection tells its lane; each call names the connection, since an older one may still have to say that it
/// has ended.
protocol MetaConnectionOwner: AnyObject {
    func connected(_ connection: MetaConnection)
    /// False ends the reading of what has arrived.
    func answered(_ connection: MetaConnection, _ answer: MetaAnswer) throws -> Bool
    /// `isPeersEnd` where the node has ended a connection that had worked.
    func ended(_ connection: MetaConnection, reason: String, isPeersEnd: Bool)
}

/// One connection to a memcached: bytes out, answers in.
final class MetaConnection: SocketOwner, @unchecked Sendable {
    // @unchecked: touched on its loop only.
    private let loop: EventLoop
    /// Held until the connection has ended.
    private var owner: (any MetaConnectionOwner)?
    private var socket: TCPSocket?
    private var reader = MetaReader()
    private var isConnected = false
    private var isEnded = false

    /// How often something has arrived.
    private(set) var arrivals = 0

    init(loop: EventLoop, owner: any MetaConnectionOwner) {
        self.loop = loop
        self.owner = owner
    }

    func open(host: String, port: UInt16) {
        NameLookup.start(host, loop: loop) { [self] addresses, failure in
            guard !isEnded else { return }
            guard let address = addresses.first else {
                return end(failure ?? "no address")
            }
            let socket = TCPSocket(loop: loop, owner: self)
            self.socket = socket
            socket.connect(address: address, port: Int(port)) { [self] status in
                guard !isEnded else { return }
                guard status == 0 else { return end(TCPSocket.describe(status)) }
                isConnected = true
                socket.startReading()
                owner?.connected(self)
            }
        }
    }

    var queuedBytes: Int { socket?.queuedBytes ?? 0 }

    func send(_ bytes: [UInt8]) {
        guard let socket, !isEnded else { return }
        let status = bytes.withUnsafeBufferPointer { socket.write($0) }
        if status < 0 { end(TCPSocket.describe(status), isPeersEnd: true) }
    }

    /// Ends it without a word.
    func close() {
        isEnded = true
        socket?.close()
        socket = nil
        owner = nil
    }

    private func end(_ reason: String, isPeersEnd: Bool = false) {
        guard !isEnded else { return }
        let owner = owner
        close()
        owner?.ended(self, reason: reason, isPeersEnd: isPeersEnd && isConnected)
    }

    // MARK: The socket

    func socketRead(_ bytes: UnsafeBufferPointer<UInt8>) {
        arrivals &+= 1
        do {
            try reader.read(bytes) { answer in
                guard !isEnded, let owner else { return false }
                return try owner.answered(self, answer) && !isEnded
            }
        } catch let violation as MetaViolation {
            end(violation.reason)
        } catch {
            end("\(error)")
        }
        loop.runReady()
    }

    func socketEnded() { end("it has closed the connection", isPeersEnd: true) }

    func socketFailed(_ code: Int32) { end(TCPSocket.describe(code), isPeersEnd: true) }

    func socketWrote() {}

    func socketClosed() {}
}
