internal import EventLoops

/// The connections that serve one kind of work, and how it is known whether the shard can be reached.
class Lane {
    final let loop: EventLoop
    final let settings: PostgresSettings
    /// What stands for the shard where requests count what they ask.
    final let place: AnyObject
    final private(set) var links: [PostgresLink] = []
    final private(set) var isClosed = false
    /// When the first attempt failed since a connection was last there.
    private var downSince: UInt64?

    init(
        loop: EventLoop,
        settings: PostgresSettings,
        connections: Int,
        blockingCalls: BlockingCalls
    ) {
        precondition(connections > 0)
        self.loop = loop
        self.settings = settings
        place = blockingCalls
        for _ in 0..<connections {
            links.append(
                PostgresLink(
                    loop: loop,
                    settings: settings,
                    blockingCalls: blockingCalls,
                    lane: self
                )
            )
        }
    }

    /// Gives waiting work to the links that can take it.
    func work() { preconditionFailure("abstract") }

    /// Fails whoever waits in the queue.
    func failWaiting(_ error: DatabaseError) { preconditionFailure("abstract") }

    var hasWaiting: Bool { preconditionFailure("abstract") }

    /// Whether nobody waits for anything.
    final var isIdle: Bool { !hasWaiting && links.allSatisfy { !$0.isLeased && $0.inFlight == 0 } }

    func linkReady(_ link: PostgresLink) {
        downSince = nil
        work()
    }

    func linkFailed(_ link: PostgresLink) {
        if downSince == nil && !links.contains(where: \.isReady) { downSince = loop.milliseconds }
        if !isClosed { work() }
    }

    /// The link has answered a group, or may be lent again.
    func linkFreed(_ link: PostgresLink) { work() }

    /// Whether the shard has been out of reach for so long that waiting for it is pointless.
    final var isDown: Bool {
        guard let downSince else { return false }
        return loop.milliseconds - downSince >= settings.acquireTimeout.wholeMilliseconds
    }

    /// Starts one more connection, if there is one left to start.
    final func connectAnother() {
        links.first { $0.state == .idle }?.connect()
    }

    /// Milliseconds of the loop's clock before which whoever waits now must have been submitted to be too late.
    final var waitHorizon: UInt64 {
        let limit = settings.acquireTimeout.wholeMilliseconds
        return loop.milliseconds > limit ? loop.milliseconds - limit : 0
    }

    /// What somebody gets who has waited too long for a connection.
    final var waitError: DatabaseError {
        links.contains(where: \.isReady) ? .overloaded : .unavailable
    }

    final func close(then done: @escaping () -> Void) {
        isClosed = true
        failWaiting(.unavailable)
        var open = links.count
        for link in links {
            link.close {
                open -= 1
                if open == 0 { done() }
            }
        }
    }
}

/// One timer for a first-in, first-out queue whose members all wait equally long.
final class QueueTimer {
    private let loop: EventLoop
    private var timer: LoopTimer?

    init(_ loop: EventLoop) { self.loop = loop }

    /// Calls `body` once after `delay`, unless it is armed already.
    func arm(_ delay: Duration, _ body: @escaping () -> Void) {
        guard timer == nil else { return }
        timer = loop.after(delay) { [unowned self] in
            timer = nil
            body()
        }
    }

    func cancel() {
        timer?.cancel()
        timer = nil
    }
}
