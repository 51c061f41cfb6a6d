internal import EventLoops

/// Carries one answer from another thread to the loop.
final class LoopReply<Value: Sendable>: @unchecked Sendable {
    // @unchecked: `body` is made, called and let go on the loop; other threads only carry the reference.
    private let loop: EventLoop
    private var body: ((Value) -> Void)?

    init(_ loop: EventLoop, _ body: @escaping (Value) -> Void) {
        self.loop = loop
        self.body = body
    }

    func send(_ value: Value) {
        loop.execute {
            let body = self.body.take()
            body?(value)
        }
    }
}
