import Database
import Etcd
import EventLoops
import Logging
import Memcache
import Metrics
import Objects
import Processes
import Settings
import Sharding
import Synchronization

/// Carries out what committed writes still have to cause: fan-out, mirrors, clean-up, counts, expiry.
@main
final class Worker: Role {
    static let name = "worker"
    static let summary = "carries out what committed writes still have to cause"
    static let table = WorkerSettings.table

    /// How long a worker waits before it asks again for a map that nobody could give it.
    private static let mapPause = Duration.seconds(1)

    private struct State: Sendable {
        var parts: [WorkerLoop] = []
        var follower: MapFollower?
        var pools: PoolFollower?
        var isDraining = false
    }

    private let settings: WorkerSettings
    private let loops: [EventLoop]
    private let metrics: MetricsRegistry
    private let log: Logger
    private let state = Mutex(State())

    init(_ values: SettingValues, _ parts: ProcessParts) throws {
        settings = try WorkerSettings(values)
        loops = parts.loops
        metrics = parts.metrics
        log = parts.log
    }

    private var isDraining: Bool { state.withLock { $0.isDraining } }

    /// The work begins beside this: a worker that has no map yet must end by a signal, too.
    func start() async {
        loops[0].spawn {
            do {
                try await self.begin()
            } catch {
                // The supervisor starts the process again; it says why and how often.
                self.log.critical("cannot start", metadata: ["error": "\(error)"])
            }
        }
    }

    private func begin() async throws {
        let log = self.log
        let follower = MapFollower(loop: loops[0], etcd: settings.etcd, copy: settings.mapCopy) {
            log.notice("map", metadata: ["trouble": "\($0)"])
        }
        guard let map = try await firstMap(follower) else { return }
        let pools = PoolFollower(
            loop: loops[0],
            etcd: settings.etcd,
            copies: settings.mapCopy,
            drawn: settings.cachePools,
            settings: settings.cache,
            report: { log.notice("cache pools", metadata: ["trouble": "\($0)"]) }
        )
        await pools.begin()
        let objects = try objectFiles()
        var parts: [WorkerLoop] = []
        for (index, loop) in loops.enumerated() {
            let share = (index: index, of: loops.count)
            let part = try await onLoop(loop) { [settings, metrics, log] in
                try WorkerLoop(
                    loop: loop,
                    share: share,
                    map: map,
                    pools: pools,
                    settings: settings,
                    objects: objects,
                    metrics: metrics,
                    log: log
                )
            }
            parts.append(part)
        }
        follower.follow(parts.map(\.database), as: NodeIdentity(role: Self.name))
        pools.follow(parts.map(\.cache))
        let began = state.withLock { state in
            state.follower = follower
            state.pools = pools
            state.parts = parts
            return !state.isDraining
        }
        guard began else { return }
        for part in parts { try await onLoop(part.loop) { part.start() } }
        log.notice("working", metadata: ["shards": "\(map.shards.count)"])
    }

    /// Nil when the worker is told to stop first.
    private func firstMap(_ follower: MapFollower) async throws -> ShardMap? {
        while !isDraining {
            do {
                return try await follower.firstMap()
            } catch {
                log.warning("no map yet", metadata: ["error": "\(error)"])
                try await loops[0].sleep(for: Self.mapPause)
            }
        }
        return nil
    }

    private func objectFiles() throws -> ObjectFiles? {
        guard !settings.objects.isEmpty else { return nil }
        let files = Offload(threads: 2, queueLimit: 256, name: "files")
        let store = try DirectoryStore(root: settings.objects, offload: files)
        return ObjectFiles(store: store, offload: files)
    }

    /// Nothing new is claimed, what runs ends and is settled, then connections close.
    func drain() async {
        let (parts, follower, pools) = state.withLock { state in
            state.isDraining = true
            return (state.parts, state.follower, state.pools)
        }
        let deadline = settings.drain
        await withTaskGroup(of: Void.self) { group in
            for part in parts {
                group.addTask {
                    // A drain does not throw; there is nothing to lose here.
                    try? await onLoop(part.loop) { await part.drain(deadline: deadline) }
                }
            }
        }
        // As above.
        try? await onLoop(loops[0]) {
            follower?.stop()
            pools?.stop()
        }
    }
}
