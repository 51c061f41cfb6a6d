import Etcd
import EventLoops
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
    private let settings: CacheSettings
    private let newest: Mutex<[CachePool: PoolMap]>

    private var clients: [MemcachedClient] = []
    private let stopping: LoopSignal

    /// How long the first maps are waited for from etcd, and a word that a map is the newest.
    package static let startTimeout = Duration.seconds(3)

    /// `drawn` are the maps of pools that have no stored one, `settings` those of the clients; `report` hears of trouble with etcd or the disk.
    package init(
        loop: EventLoop,
        etcd: EtcdSettings,
        copies: String,
        drawn: [CachePool: PoolMap],
        settings: CacheSettings = CacheSettings(),
        report: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        var etcd = etcd
        etcd.timeout = min(etcd.timeout, Self.startTimeout)
        self.loop = loop
        self.settings = settings
        store = PoolStore(etcd: EtcdClient(loop: loop, settings: etcd))
        self.copies = copies
        self.report = report
        newest = Mutex(drawn)
        stopping = LoopSignal(loop: loop)
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
        MemcachedClient(loop: loop, pools: newest.withLock { $0 }, settings: settings) {
            await self.isNewest($1, of: $0)
        }
    }

    /// Gives `clients` every newer map from now on, until ``stop()``; they may be on any loop.
    package func follow(_ clients: [MemcachedClient]) {
        loop.assertOnLoop()
        self.clients = clients
        for client in clients {
            client.loop.execute { client.know(clients.filter { $0 !== client }) }
        }
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
                group.addTask { await self.stopping.wait() }
                await group.next()
                group.cancelAll()
            }
            self.store.etcd.close()
        }
    }

    /// Ends the watch. Called on the follower's loop, more than once if need be.
    package func stop() {
        loop.assertOnLoop()
        stopping.give()
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

    /// Whether etcd knows no newer map. False where etcd does not answer in time.
    private func isNewest(_ generation: Int64, of pool: CachePool) async -> Bool {
        await withCheckedContinuation { done in
            loop.spawn { [self] in
                do {
                    let stored = try await store.load(pool.rawValue)
                    done.resume(returning: generation >= stored?.map.generation ?? 0)
                } catch {
                    report("nobody says whether \(pool)'s map is the newest: \(error)")
                    done.resume(returning: false)
                }
            }
        }
    }
}
