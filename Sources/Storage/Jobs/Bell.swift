internal import EventLoops

/// Lets one task of a loop sleep until a time or until it is rung, whichever is first.
final class Bell: @unchecked Sendable {
    // @unchecked: touched on its loop only.
    private let loop: EventLoop
    private var waiting: CheckedContinuation<Void, Never>?
    private var timer: LoopTimer?

    init(loop: EventLoop) {
        self.loop = loop
    }

    func wait(atMost time: Duration) async {
        precondition(waiting == nil, "one task waits for one bell")
        await withCheckedContinuation { continuation in
            waiting = continuation
            timer = loop.after(time) { self.ring() }
        }
    }

    func ring() {
        loop.assertOnLoop()
        let sleeper = waiting
        waiting = nil
        timer?.cancel()
        timer = nil
        sleeper?.resume()
    }
}
