internal import EventLoops

/// Lets a few deliveries at a time write to one shard; the others wait here, in their order.
///
/// A burst of posts is thousands of inserts. Those that wait for a connection are given up after a while, and
/// rightly so where a user waits; an effect may wait as long as its lease is extended.
final class WriteQueue: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    /// Twice as many as there are connections, so that none of them stands idle.
    static let width = 8

    private var free = width
    private var waiting = Ring<UnsafeContinuation<Void, Never>>()

    func enter() async {
        if free > 0 {
            free -= 1
            return
        }
        await withUnsafeContinuation { waiting.append($0) }
    }

    /// Hands the place to whoever waits longest.
    func leave() {
        if waiting.isEmpty {
            free += 1
        } else {
            waiting.popFirst()!.resume()
        }
    }
}
