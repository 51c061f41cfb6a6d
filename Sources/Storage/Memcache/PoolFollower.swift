import CRuntime
import Etcd
import EventLoops
import Glibc
import Sharding
import Synchronization

/// Keeps every ``MemcachedClient`` of a process on the newest maps of the pools, and copies of them on disk.
///
/// One watcher per process, on one loop. Nothing on the request path waits for it: with etcd gone the process goes
/// on with the maps it has, and starts with those on its disk, or with the ones that its settings draw.
package final class PoolFollower: @unchecked Sendable {
    // @unchecked: touched on its loop only, but for `newest`, which is a Mutex, and for what never changes.
    private let loop: EventLoop
    private let store: PoolStore
    /// Path of the copies, to which the pool's name is added; empty keeps none.
    private let copies: String
    private let disk = Offload(threads: 1, queueLimit: 16, name: "pools")
    private let report: @Sendable (String) -> Void
    private let newest: Mutex<[CachePool: PoolMap]>

    private var clients: [MemcachedClient] = []
    private var stopper: CheckedContinuation<Void, Never>?
    private var isStopped = false

    /// How long the first maps are waited for from etcd, and a word that a map is the newest.
    package static let startTimeout = Duration.seconds(3)
    private static let confirmMilliseconds = 1_000

    /// `drawn` are the maps of pools that have no stored one; `report` hears of trouble with etcd or the disk.
    package init(
        loop: EventLoop,
        etcd: EtcdSettings,
        copies: String,
        drawn: [CachePool: PoolMap],
        report: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        var settings = etcd
        settings.timeout = min(settings.timeout, Self.startTimeout)
        self.loop = loop
        store = PoolStore(etcd: EtcdClient(loop: loop, settings: settings))
        self.copies = copies
        self.report = report
        newest = Mutex(drawn)
    }

    /// Gets the maps to start with: etcd's, or the copies on disk when etcd does not answer.
    package func begin() async {
        loop.assertOnLoop()
        do {
            for (name, map) in try await store.all(onTrouble: report) {
                if let pool = CachePool(rawValue: name) { await take(map, for: pool) }
            }
        } catch {
            for pool in CachePool.allCases {
                guard let map = await copy(of: pool), replace(pool, with: map) else { continue }
                report(
                    "starting with \(pool)'s map on disk, generation \(map.generation): \(error)"
                )
            }
        }
    }

    /// A client for a loop, with the newest maps of this moment; ``follow(_:)`` brings the later ones.
    package func client(on loop: EventLoop) -> MemcachedClient {
        MemcachedClient(loop: loop, pools: newest.withLock { $0 }) { self.isNewest($1, of: $0) }
    }

    /// Gives `clients` every newer map from now on, until ``stop()``; they may be on any loop.
    package func follow(_ clients: [MemcachedClient]) {
        loop.assertOnLoop()
        self.clients = clients
        loop.spawn {
            await withTaskGroup(of: Void.self) { group in
                for pool in CachePool.allCases {
                    group.addTask {
                        await self.store.follow(
                            pool.rawValue,
                            { await self.take($0, for: pool) },
                            onTrouble: self.report
                        )
                    }
                }
                group.addTask { await self.untilStopped() }
                await group.next()
                group.cancelAll()
            }
            self.store.etcd.close()
        }
    }

    /// Ends the watch. Called on the follower's loop, more than once if need be.
    package func stop() {
        loop.assertOnLoop()
        isStopped = true
        stopper.take()?.resume()
    }

    private func untilStopped() async {
        loop.assertOnLoop()
        guard !isStopped else { return }
        await withCheckedContinuation { stopper = $0 }
    }

    // MARK: Maps

    private func take(_ map: PoolMap, for pool: CachePool) async {
        loop.assertOnLoop()
        guard replace(pool, with: map) else { return }
        for client in clients {
            client.loop.execute { client.adopt(map, for: pool) }
        }
        await keep(map, of: pool)
    }

    private func replace(_ pool: CachePool, with map: PoolMap) -> Bool {
        newest.withLock { newest in
            guard map.generation > newest[pool]?.generation ?? -1 else { return false }
            newest[pool] = map
            return true
        }
    }

    private func file(of pool: CachePool) -> SavedText? {
        copies.isEmpty
            ? nil
            : SavedText(path: "\(copies).pool-\(pool.rawValue)", limitBytes: PoolMap.textLimit)
    }

    private func keep(_ map: PoolMap, of pool: CachePool) async {
        guard let file = file(of: pool) else { return }
        do {
            try await disk.run { try file.save(map.text) }
        } catch {
            report("the map of pool \(pool) was not saved: \(error)")
        }
    }

    private func copy(of pool: CachePool) async -> PoolMap? {
        guard let file = file(of: pool) else { return nil }
        do {
            return try await disk.run { try file.load().map { try PoolMap(text: $0) } }
        } catch {
            report("the copy of pool \(pool)'s map cannot be used: \(error)")
            return nil
        }
    }

    // MARK: Confirming

    /// Whether etcd knows no newer map; called on helper threads, which it may hold up for a second. False where
    /// etcd does not answer.
    private func isNewest(_ generation: Int64, of pool: CachePool) -> Bool {
        let word = Word()
        loop.execute { [self] in
            loop.spawn {
                do {
                    let stored = try await self.store.load(pool.rawValue)
                    word.give(generation >= stored?.map.generation ?? 0)
                } catch {
                    self.report("nobody says whether \(pool)'s map is the newest: \(error)")
                    word.give(false)
                }
            }
        }
        return word.wait(milliseconds: Self.confirmMilliseconds) ?? false
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
