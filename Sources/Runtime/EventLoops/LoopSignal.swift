/// Wakes one task of a loop: to stop, or since there is something to do before it would have looked by itself.
///
/// A signal that is given while nobody waits is kept for the next wait; several are one.
package final class LoopSignal: @unchecked Sendable {
    // @unchecked: touched on its loop only.
    private let loop: EventLoop
    private var isGiven = false
    private var waiting: CheckedContinuation<Void, Never>?
    private var timer: LoopTimer?

    package init(loop: EventLoop) {
        self.loop = loop
    }

    package func give() {
        loop.assertOnLoop()
        isGiven = true
        wake()
    }

    /// Returns when the signal is given, when the time is over, or when the task is cancelled.
    package func wait(atMost time: Duration? = nil) async {
        loop.assertOnLoop()
        precondition(waiting == nil, "one task waits for a signal")
        if !isGiven, !Task.isCancelled {
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    waiting = continuation
                    timer = time.map { loop.after($0) { self.wake() } }
                }
            } onCancel: {
                loop.execute { self.wake() }
            }
        }
        isGiven = false
    }

    private func wake() {
        timer?.cancel()
        timer = nil
        let sleeper = waiting
        waiting = nil
        sleeper?.resume()
    }
}
