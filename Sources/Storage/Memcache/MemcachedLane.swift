import CRuntime
import EventLoops
import Glibc
import Sharding
import Synchronization

/// The way from one loop to one memcached by libmemcached: what gathers on the loop, and the helper thread that asks.
final class MemcachedLane: CacheLane, @unchecked Sendable {
    // @unchecked: `open`, `waiting`, `statistics` and `isClosed` are touched on the loop only; `inbox` is a Mutex,
    // `up`, `stale`, `renewed` and `generation` are atomic, the semaphore is made for threads, and `link` is touched on the helper thread only.
    private static let confirmMilliseconds = 1_000

    private let loop: EventLoop
    private let settings: CacheSettings
    let node: CacheNode

    private var open: CacheBatch?
    private var waiting = 0
    private var isClosed = false
    private(set) var statistics = CacheStatistics()

    private let inbox = Mutex(Inbox())
    private let work = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
    private let up = Atomic<Bool>(true)

    /// Set when something that must not be read any more may have stayed on the node.
    private let stale = Atomic<Bool>(false)

    /// How often this client has put the node's memory out of reach.
    private let renewed = Atomic<Int>(0)

    /// Of the newest map that names the node here.
    private let generation: Atomic<Int64>

    private let link: MemcachedLink

    private struct Inbox: Sendable {
        var batches: [CacheBatch] = []
        var closing = false
    }

    /// `confirm` says on the loop whether a map of this generation is the newest; the helper thread waits for it.
    init(
        loop: EventLoop,
        pool: CachePool,
        node: CacheNode,
        generation: Int64,
        settings: CacheSettings,
        confirm: @escaping @Sendable (Int64) async -> Bool
    ) {
        self.loop = loop
        self.node = node
        self.settings = settings
        self.generation = Atomic(generation)
        link = MemcachedLink(
            node: node,
            pool: pool,
            timeout: settings.timeout
        ) { generation in
            let word = Word()
            loop.execute { loop.spawn { word.give(await confirm(generation)) } }
            return word.wait(milliseconds: Self.confirmMilliseconds) ?? false
        }
        precondition(sem_init(work, 0, 0) == 0, "sem_init")
        startThread()
    }

    deinit {
        sem_destroy(work)
        work.deallocate()
    }

    // MARK: On the loop

    var isUp: Bool { up.load(ordering: .relaxed) }

    var isStale: Bool { stale.load(ordering: .acquiring) }
    var renewals: Int { renewed.load(ordering: .acquiring) }

    /// Has the node's memory put out of reach before it is used again.
    func markStale() { stale.store(true, ordering: .releasing) }

    /// The node stays in a newer map.
    func adopt(generation newer: Int64) { generation.store(newer, ordering: .releasing) }

    /// `asked` is the generation of the map by which this node was chosen.
    func submit(_ command: CacheCommand, generation asked: Int64, _ waiter: CacheWaiter) {
        guard !isClosed else { return waiter.resume(.outdated) }
        guard isUp, waiting < settings.queueLimit else {
            if command.leavesStale { stale.store(true, ordering: .releasing) }
            statistics.refused += 1
            return waiter.resume(command.whenUnavailable)
        }
        waiting += 1
        if let open, open.generation == asked {
            return open.append(command, waiter)
        }
        let batch = CacheBatch(generation: asked)
        batch.append(command, waiter)
        open = batch
        loop.atEndOfTurn { [self] in
            if open === batch { open = nil }
            let first = inbox.withLock { inbox in
                inbox.batches.append(batch)
                return inbox.batches.count == 1
            }
            if first { sem_post(work) }
        }
    }

    /// Ends the helper thread once it has answered what waits.
    func close() {
        isClosed = true
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
            let newest = generation.load(ordering: .acquiring)
            if wasStale { try renew(newest) }
            try link.perform(round, newest: newest)
        } catch {
            if wasStale { stale.store(true, ordering: .releasing) }
            up.store(false, ordering: .relaxed)
            loop.execute { self.statistics.ejections += 1 }
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
            let newest = generation.load(ordering: .acquiring)
            try wasStale ? renew(newest) : link.learnStamp(newest: newest)
            pause = settings.retry
            up.store(true, ordering: .relaxed)
        } catch {
            if wasStale { stale.store(true, ordering: .releasing) }
            pause = min(pause * 2, settings.retryCeiling)
        }
    }

    private func renew(_ newest: Int64) throws(MemcachedFailure) {
        try link.renewIncarnation(newest: newest)
        renewed.add(1, ordering: .releasing)
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

/// An answer that one thread waits for.
private final class Word: @unchecked Sendable {
    // @unchecked: the answer is a Mutex, and the semaphore is made for threads; it lives as long as both sides.
    private let answer = Mutex<Bool?>(nil)
    private let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    init() { precondition(sem_init(semaphore, 0, 0) == 0, "sem_init") }

    deinit {
        sem_destroy(semaphore)
        semaphore.deallocate()
    }

    func give(_ value: Bool) {
        answer.withLock { $0 = value }
        sem_post(semaphore)
    }

    func wait(milliseconds: Int) -> Bool? {
        var deadline = timespec()
        clock_gettime(CLOCK_REALTIME, &deadline)
        let total = deadline.tv_nsec + milliseconds * 1_000_000
        deadline.tv_sec += total / 1_000_000_000
        deadline.tv_nsec = total % 1_000_000_000
        while sem_timedwait(semaphore, &deadline) < 0 && errno == EINTR {}
        return answer.withLock { $0 }
    }
}
