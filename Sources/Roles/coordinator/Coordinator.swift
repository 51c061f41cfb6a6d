import Etcd
import EventLoops
import Journals
import Logging
import Metrics
import Processes
import Settings

/// Moves buckets between shards, while it holds the lease; stands by otherwise.
@main
final class Coordinator: Role, @unchecked Sendable {
    // @unchecked: `leading` is touched on `loop` only.
    static let name = "coordinator"
    static let summary = "moves buckets between shards; run two, of which one stands by"
    static let table = CoordinatorSettings.table

    private let settings: CoordinatorSettings
    private let loop: EventLoop
    private let log: Logger
    private let leads: Gauge
    private var leading: Task<Void, Never>?

    init(_ values: SettingValues, _ parts: ProcessParts) throws {
        settings = try CoordinatorSettings(values)
        loop = parts.loops[0]
        log = parts.log
        leads = parts.metrics.gauge(
            "tessera_coordinator_leads",
            help: "1 in the coordinator that moves buckets, 0 in a stand-by."
        )
    }

    func start() async throws {
        try await onLoop(loop) { self.begin() }
    }

    private func begin() {
        let etcd = EtcdClient(loop: loop, settings: settings.etcd)
        let leadership = Leadership(
            etcd: etcd,
            name: settings.name,
            leaseSeconds: settings.leaseSeconds
        ) { [log] trouble in
            log.warning("leadership", metadata: ["trouble": "\(trouble)"])
        }
        leading = loop.spawnTask {
            await leadership.hold { await self.lead($0) }
            etcd.close()
        }
        log.notice("standing by", metadata: ["name": "\(settings.name)"])
    }

    private func lead(_ term: LeaderTerm) async {
        log.notice("leading", metadata: ["term": "\(term.revision)"])
        leads.set(1)
        // Until the lease is lost or the process ends.
        while !Task.isCancelled {
            do { try await loop.sleep(for: .seconds(1)) } catch { break }
        }
        leads.set(0)
        log.notice("no longer leading", metadata: ["term": "\(term.revision)"])
    }

    /// Gives the lease back, so that a stand-by need not wait for its end.
    func drain() async {
        // Nothing in it throws.
        try? await onLoop(loop) {
            self.leading?.cancel()
            await self.leading?.value
        }
    }
}
