import Contracts
import EventLoops
import HTTP
import Sharding

/// A client that listens by an answer which does not end: Server-Sent Events.
final class EventStream: StreamListener, @unchecked Sendable {
    // @unchecked: touched on its loop only.

    /// Bytes that wait for a client which reads slowly; past it, its answer ends.
    private static let queueLimit = 1 << 18
    /// How long nothing may be sent: a balancer takes a silent answer for a dead one.
    private static let heartbeat = Duration.seconds(15)

    private let loop: EventLoop
    private let hub: StreamHub
    private var queue: [UInt8] = []
    private var hasEnded = false
    private var waiting: UnsafeContinuation<Void, Never>?

    init(hub: StreamHub, user: UserID, session: SessionID?) {
        self.hub = hub
        loop = hub.loop
        super.init(user: user, session: session)
    }

    /// Listens, and writes what comes until the client goes, or must go.
    func run(_ writer: ResponseWriter, _ stream: StreamName, after place: Int64?) async throws {
        defer { hub.leave(self) }
        guard try await hub.listen(self, to: stream, after: place) else { return }
        try await writer.write(":)\n\n")
        while !hasEnded {
            if queue.isEmpty {
                await wait()
                if queue.isEmpty, !hasEnded { queue = Array(":thump\n".utf8) }
            }
            let bytes = queue
            queue = []
            try await writer.write(bytes)
        }
    }

    private func wait() async {
        let timer = loop.after(Self.heartbeat) { [weak self] in self?.wake() }
        await withUnsafeContinuation { waiting = $0 }
        timer.cancel()
    }

    private func wake() { waiting.take()?.resume() }

    private func send(_ bytes: [UInt8]) {
        guard !hasEnded else { return }
        queue += bytes
        if queue.count > Self.queueLimit { hasEnded = true }
        wake()
    }

    private func end() {
        hasEnded = true
        wake()
    }

    override func deliver(_ message: StreamMessage, of streams: [StreamName]) {
        send(message.text)
    }

    override func skipped(to place: Int64) {
        let gap = StreamMessage(
            event: "tessera.gap",
            payload: Array(String(place).utf8),
            seq: place
        )
        send(gap.text)
    }

    override func revoke() { end() }
    override func goAway() { end() }
}
