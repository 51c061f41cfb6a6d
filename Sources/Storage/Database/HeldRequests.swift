internal import EventLoops
internal import Sharding

/// Requests of one loop whose buckets have no owner at this moment.
///
/// A bucket is looked at by one watch, however many requests wait for it; the looks of several buckets of a shard
/// share a sync. Requests go on when the bucket has an owner, and fail at their deadline.
final class HeldRequests: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    enum Use { case reading, writing }

    /// A move's pause is some tens of milliseconds, and much of it may be over.
    private static let firstPause = Duration.milliseconds(2)

    private final class Waiter {
        let use: Use
        var timer: LoopTimer?
        private var continuation: UnsafeContinuation<Bool, Never>?

        init(_ use: Use, _ continuation: UnsafeContinuation<Bool, Never>) {
            self.use = use
            self.continuation = continuation
        }

        func finish(_ goesOn: Bool) {
            timer?.cancel()
            let waiting = continuation.take()
            waiting?.resume(returning: goesOn)
        }
    }

    private let loop: EventLoop
    private let limit: Int
    private let longestPause: Duration
    private let look: (BucketID) async -> OwnerState?
    private var waiting: [BucketID: [Waiter]] = [:]
    private var isClosed = false

    /// Requests that are held now.
    private(set) var count = 0

    /// `look` asks the shard that the bucket is looked for at.
    init(
        loop: EventLoop,
        limit: Int,
        longestPause: Duration,
        look: @escaping (BucketID) async -> OwnerState?
    ) {
        self.loop = loop
        self.limit = limit
        self.longestPause = longestPause
        self.look = look
    }

    /// Returns true when the bucket has an owner; false at `deadline` of the loop's clock, or at once where too many
    /// are held already.
    func wait(for bucket: BucketID, _ use: Use, until deadline: UInt64) async -> Bool {
        let now = loop.milliseconds
        guard now < deadline, count < limit, !isClosed else { return false }
        return await withUnsafeContinuation { continuation in
            let waiter = Waiter(use, continuation)
            waiter.timer = loop.after(.milliseconds(Int64(deadline - now))) { [unowned self] in
                giveUp(waiter, on: bucket)
            }
            count += 1
            let isWatched = waiting[bucket] != nil
            waiting[bucket, default: []].append(waiter)
            if !isWatched { loop.spawn { await self.watch(bucket) } }
        }
    }

    /// Lets everybody go, to fail.
    func close() {
        isClosed = true
        for bucket in waiting.keys { finish(bucket, false) { _ in true } }
    }

    private func watch(_ bucket: BucketID) async {
        var pause = Self.firstPause
        while waiting[bucket]?.isEmpty == false {
            await withUnsafeContinuation { continuation in
                loop.after(pause) { continuation.resume() }
            }
            guard waiting[bucket]?.isEmpty == false, !isClosed else { break }
            let state = await look(bucket)
            finish(bucket, true) { use in
                state == .own || (use == .reading && state?.isReadable == true)
            }
            pause = min(pause * 1.5, longestPause)
        }
        waiting[bucket] = nil
    }

    private func finish(_ bucket: BucketID, _ goesOn: Bool, _ isMet: (Use) -> Bool) {
        guard let all = waiting[bucket] else { return }
        let met = all.filter { isMet($0.use) }
        waiting[bucket] = all.filter { !isMet($0.use) }
        count -= met.count
        for waiter in met { waiter.finish(goesOn) }
    }

    private func giveUp(_ waiter: Waiter, on bucket: BucketID) {
        waiter.timer = nil
        guard let all = waiting[bucket], all.contains(where: { $0 === waiter }) else { return }
        waiting[bucket] = all.filter { $0 !== waiter }
        count -= 1
        waiter.finish(false)
    }
}
