package import EventLoops

/// Events on their way to the one task that handles them, in the order in which they came.
package final class Mailbox<Event: Sendable>: @unchecked Sendable {
    // @unchecked: touched on its loop only.
    private let loop: EventLoop
    private var events: [Event] = []
    private var waiting: CheckedContinuation<Void, Never>?
    private var isClosed = false

    package init(loop: EventLoop) {
        self.loop = loop
    }

    package func post(_ event: Event) {
        loop.assertOnLoop()
        guard !isClosed else { return }
        events.append(event)
        waiting.take()?.resume()
    }

    /// No event after the present ones; whoever waits gets them, then nil.
    package func close() {
        loop.assertOnLoop()
        isClosed = true
        waiting.take()?.resume()
    }

    /// The next event; nil when the mailbox is closed and empty, or at once when the task is cancelled.
    package func next() async -> Event? {
        loop.assertOnLoop()
        while events.isEmpty && !isClosed && !Task.isCancelled {
            await withTaskCancellationHandler {
                await withCheckedContinuation { waiting = $0 }
            } onCancel: {
                loop.execute { self.waiting.take()?.resume() }
            }
        }
        guard !Task.isCancelled, !events.isEmpty else { return nil }
        return events.removeFirst()
    }
}
