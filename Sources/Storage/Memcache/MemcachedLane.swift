import CRuntime
import EventLoops
import Glibc
import Sharding
import Synchronization

/// The way from one loop to one memcached: what gathers on the loop, and the helper thread that asks.
final class MemcachedLane: @unchecked Sendable {
    // @unchecked: `open`, `waiting` and `statistics` are touched on the loop only; `inbox` is a Mutex, `up`
    // and `stale` are atomic, the semaphore is made for threads, and `link` is touched on the helper thread only.
    private let loop: EventLoop
    private let settings: CacheSettings

    private var open: CacheBatch?
    private var waiting = 0
    private(set) var statistics = CacheStatistics()

    private let inbox = Mutex(Inbox())
    private let work = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
    private let up = Atomic<Bool>(true)

    /// Set when something that must not be read any more may have stayed on the node.
    private let stale = Atomic<Bool>(false)

    private let link: MemcachedLink

    private struct Inbox: Sendable {
        var batches: [CacheBatch] = []
        var closing = false
    }

    init(loop: EventLoop, node: CacheNode, settings: CacheSettings) {
        self.loop = loop
        self.settings = settings
        link = MemcachedLink(node: node, timeout: settings.timeout)
        precondition(sem_init(work, 0, 0) == 0, "sem_init")
        startThread()
    }

    deinit {
        sem_destroy(work)
        work.deallocate()
    }

    // MARK: On the loop

    var isUp: Bool { up.load(ordering: .relaxed) }

    func submit(_ command: CacheCommand, _ waiter: CacheWaiter) {
        guard isUp, waiting < settings.queueLimit else {
            if command.leavesStale { stale.store(true, ordering: .releasing) }
            statistics.refused += 1
            return waiter.resume(command.whenUnavailable)
        }
        waiting += 1
        if let open {
            return open.append(command, waiter)
        }
        let batch = CacheBatch()
        batch.append(command, waiter)
        open = batch
        loop.atEndOfTurn { [self] in
            open = nil
            let first = inbox.withLock { inbox in
                inbox.batches.append(batch)
                return inbox.batches.count == 1
            }
            if first { sem_post(work) }
        }
    }

    /// Ends the helper thread once it has answered what waits.
    func close() {
        inbox.withLock { $0.closing = true }
        sem_post(work)
    }

    private func finish(_ batches: [CacheBatch]) {
        for batch in batches {
            waiting -= batch.commands.count
            for reply in batch.replies {
                if case .value(let value) = reply {
                    if value == nil { statistics.misses += 1 } else { statistics.hits += 1 }
                }
            }
            batch.finish()
        }
    }

    // MARK: On the helper thread

    private func startThread() {
        var thread = pthread_t()
        let status = pthread_create(
            &thread,
            nil,
            { argument in
                Unmanaged<MemcachedLane>.fromOpaque(argument!).takeRetainedValue().run()
                return nil
            },
            Unmanaged.passRetained(self).toOpaque()
        )
        precondition(status == 0, "pthread_create: \(status)")
        pthread_detach(thread)
    }

    private func run() {
        tessera_name_thread("memcached-\(loop.index)")
        var pause = settings.retry
        while true {
            if isUp {
                while sem_wait(work) < 0 && errno == EINTR {}
            } else {
                wait(pause)
            }
            let (batches, closing) = inbox.withLock { inbox in
                let taken = inbox.batches
                inbox.batches.removeAll(keepingCapacity: true)
                return (taken, inbox.closing)
            }
            if !isUp && !closing { tryAgain(&pause) }
            if !batches.isEmpty {
                if isUp { perform(batches) } else { refuse(batches) }
                loop.execute { self.finish(batches) }
            }
            if closing { break }
        }
        link.disconnect()
    }

    private func perform(_ batches: [CacheBatch]) {
        var round: [CacheBatch] = []
        var size = 0
        for (index, batch) in batches.enumerated() {
            round.append(batch)
            size += batch.commands.count
            if size >= MemcachedLink.keysPerRequest || index == batches.count - 1 {
                if isUp { ask(round) } else { refuse(round) }
                (round, size) = ([], 0)
            }
        }
    }

    private func ask(_ round: [CacheBatch]) {
        let wasStale = stale.exchange(false, ordering: .acquiringAndReleasing)
        do {
            if wasStale { try link.renewIncarnation() }
            try link.perform(round)
        } catch {
            if wasStale { stale.store(true, ordering: .releasing) }
            up.store(false, ordering: .relaxed)
            refuse(round)
        }
    }

    private func refuse(_ round: [CacheBatch]) {
        for batch in round {
            if batch.commands.contains(where: \.leavesStale) {
                stale.store(true, ordering: .releasing)
            }
            batch.replies = batch.commands.map(\.whenUnavailable)
        }
    }

    /// Looks whether the node is back; a node that may hold something stale gets a new incarnation first.
    private func tryAgain(_ pause: inout Duration) {
        let wasStale = stale.exchange(false, ordering: .acquiringAndReleasing)
        do {
            try wasStale ? link.renewIncarnation() : link.learnIncarnation()
            pause = settings.retry
            up.store(true, ordering: .relaxed)
        } catch {
            if wasStale { stale.store(true, ordering: .releasing) }
            pause = min(pause * 2, settings.retryCeiling)
        }
    }

    private func wait(_ pause: Duration) {
        var deadline = timespec()
        clock_gettime(CLOCK_REALTIME, &deadline)
        // A quarter more or less, so that the loops of a machine do not knock together.
        let nanoseconds = Int(pause.wholeMilliseconds) * 1_000_000 * Int.random(in: 75...125) / 100
        let total = deadline.tv_nsec + nanoseconds
        deadline.tv_sec += total / 1_000_000_000
        deadline.tv_nsec = total % 1_000_000_000
        while sem_timedwait(work, &deadline) < 0 && errno == EINTR {}
    }
}
