import EventLoops

/// What a load on this loop has given for a key; no bytes where there is nothing.
struct SharedValue: Sendable {
    var bytes: [UInt8]?
}

/// Who on one loop waits until others have filled a key; and loads without a reservation, which others may share.
package final class FillBoard: @unchecked Sendable {
    // @unchecked: touched on the loop of its client only.

    private final class Group {
        var waiters: [UnsafeContinuation<Void, Never>] = []
        var timer: LoopTimer?
    }

    /// A load of keys whose reservation another holds for too long.
    final class SharedLoad {
        fileprivate let keys: [CacheKey]
        fileprivate let began = EventLoop.nanoseconds
        fileprivate var followers: [(CacheKey, UnsafeContinuation<Outcome, Never>)] = []

        fileprivate init(_ keys: [CacheKey]) { self.keys = keys }
    }

    fileprivate enum Outcome {
        case value(SharedValue)
        case failed(any Error)
    }

    private var groups: [CacheKey: Group] = [:]
    private var loads: [CacheKey: SharedLoad] = [:]

    /// How long others may take before a fill loads itself.
    let patience: Duration

    package init(patience: Duration = CacheLimits.fillPatience) { self.patience = patience }

    // MARK: Waiting

    /// Returns when a fill of this loop has ended for the key, or after a while.
    func wait(for key: CacheKey, atMost pause: Duration) async {
        guard let loop = EventLoop.current else { preconditionFailure("called off its loop") }
        await withUnsafeContinuation { continuation in
            if let group = groups[key] { return group.waiters.append(continuation) }
            let group = Group()
            group.waiters.append(continuation)
            groups[key] = group
            group.timer = loop.after(pause) { self.wake(key) }
        }
    }

    /// Has everybody who waits for the key look again.
    package func wake(_ key: CacheKey) {
        guard let group = groups.removeValue(forKey: key) else { return }
        group.timer?.cancel()
        for waiter in group.waiters { waiter.resume() }
    }

    // MARK: Shared loads

    /// Lets others share what is about to be loaded; a key that is being loaded already keeps its load.
    func share(_ keys: [CacheKey]) -> SharedLoad {
        let load = SharedLoad(keys)
        for key in keys where loads[key] == nil { loads[key] = load }
        return load
    }

    func finish(_ load: SharedLoad, _ loaded: [CacheKey: [UInt8]]) {
        end(load) { .value(SharedValue(bytes: loaded[$0])) }
    }

    func fail(_ load: SharedLoad, _ error: any Error) {
        end(load) { _ in .failed(error) }
    }

    private func end(_ load: SharedLoad, _ outcome: (CacheKey) -> Outcome) {
        for key in load.keys where loads[key] === load { loads[key] = nil }
        for (key, follower) in load.followers { follower.resume(returning: outcome(key)) }
        load.followers = []
    }

    /// What a load gives that began after `since`, so that it has read whatever was settled before; nil without one,
    /// or where it was cancelled.
    func sharedLoad(of key: CacheKey, since: UInt64) async throws -> SharedValue? {
        guard let load = loads[key], load.began >= since else { return nil }
        let outcome: Outcome = await withUnsafeContinuation { load.followers.append((key, $0)) }
        switch outcome {
        case .value(let value): return value
        case .failed(let error):
            if error is CancellationError { return nil }
            throw error
        }
    }
}
