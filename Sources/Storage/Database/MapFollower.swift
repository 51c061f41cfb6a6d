package import Etcd
package import EventLoops
package import Sharding

/// Keeps every ``Database`` of a process on the newest map, and a copy of it on disk.
///
/// One watcher per process, on one loop. Nothing on the request path waits for it: with etcd gone the process
/// goes on with the map it has, and starts with the one on its disk.
package final class MapFollower: @unchecked Sendable {
    // @unchecked: touched on its loop only.
    private let loop: EventLoop
    private let store: MapStore
    private let copy: MapFile?
    private let disk = Offload(threads: 1, queueLimit: 16, name: "map")
    private let report: @Sendable (String) -> Void

    private var databases: [Database] = []
    /// What each database has taken, in their order.
    private var adopted: [Int64] = []
    private var newest: ShardMap?
    private var reporter: NodeReporter?
    private let stopping: LoopSignal

    /// How long the first map is waited for from etcd before the copy on disk is taken.
    package static let startTimeout = Duration.seconds(3)

    /// An empty path keeps no copy; `report` hears of trouble with etcd or the disk, for the log.
    package init(
        loop: EventLoop,
        etcd: EtcdSettings,
        copy path: String,
        report: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        var settings = etcd
        settings.timeout = min(settings.timeout, Self.startTimeout)
        self.loop = loop
        store = MapStore(etcd: EtcdClient(loop: loop, settings: settings))
        copy = path.isEmpty ? nil : MapFile(path: path)
        self.report = report
        stopping = LoopSignal(loop: loop)
    }

    /// Neither etcd nor the disk has a map.
    package struct NoMap: Error, CustomStringConvertible {
        package let description: String
    }

    /// The map to start with: etcd's, or the copy on disk when etcd does not answer.
    package func firstMap() async throws -> ShardMap {
        loop.assertOnLoop()
        let trouble: String
        do {
            if let stored = try await store.load() {
                await keep(stored.map)
                return stored.map
            }
            trouble = "etcd holds no map"
        } catch {
            trouble = "\(error)"
        }
        guard let copy else { throw NoMap(description: "\(trouble), and no copy is kept") }
        do {
            if let map = try await disk.run({ try copy.load() }) {
                report("starting with the map on disk, generation \(map.generation): \(trouble)")
                newest = map
                return map
            }
        } catch {
            throw NoMap(description: "\(trouble); \(error)")
        }
        throw NoMap(description: "\(trouble), and there is no copy at \(copy.path)")
    }

    /// Gives `databases` every newer map from now on, until ``stop()``; they may be on any loop. Tells etcd which map
    /// they use where the process has an identity.
    package func follow(_ databases: [Database], as identity: NodeIdentity? = nil) {
        loop.assertOnLoop()
        self.databases = databases
        adopted = databases.map { _ in newest?.generation ?? 0 }
        reporter = identity.map { identity in
            NodeReporter(
                identity,
                etcd: store.etcd,
                generation: { [unowned self] in adopted.min() ?? 0 },
                tallies: { [unowned self] in await takeTallies() },
                report: report
            )
        }
        loop.spawn {
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    await self.store.follow({ await self.take($0) }, onTrouble: self.report)
                }
                if let reporter = self.reporter {
                    group.addTask { await reporter.run() }
                }
                group.addTask { await self.stopping.wait() }
                await group.next()
                group.cancelAll()
            }
            self.store.etcd.close()
        }
    }

    /// What each loop has counted since the last time.
    private func takeTallies() async -> [BucketTally] {
        var tallies: [BucketTally] = []
        for database in databases {
            tallies.append(
                await withUnsafeContinuation { done in
                    database.loop.execute { done.resume(returning: database.tally.take()) }
                }
            )
        }
        return tallies
    }

    /// Ends the watch. Called on the follower's loop, more than once if need be.
    package func stop() {
        loop.assertOnLoop()
        stopping.give()
    }

    private func take(_ map: ShardMap) async {
        loop.assertOnLoop()
        guard map.generation > newest?.generation ?? 0 else { return }
        if let newest, !newest.isOfSameCluster(as: map) {
            return report("etcd has the map of another Tessera: check etcd.endpoints")
        }
        for (index, database) in databases.enumerated() {
            database.loop.execute {
                database.adopt(map)
                self.loop.execute {
                    self.adopted[index] = max(self.adopted[index], map.generation)
                    self.reporter?.noticeMap()
                }
            }
        }
        await keep(map)
    }

    private func keep(_ map: ShardMap) async {
        newest = map
        guard let copy else { return }
        do {
            try await disk.run { try copy.save(map) }
        } catch {
            report("the map was not saved: \(error)")
        }
    }
}
