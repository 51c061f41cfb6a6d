import Etcd
import EventLoops
import HTTP
import Journals
import Logging
import Metrics

/// The process: it stands by or leads, and serves its metrics.
final class CoordinatorProcess: @unchecked Sendable {
    // @unchecked: touched on its loop only.
    private let settings: CoordinatorSettings
    private let loop: EventLoop
    private let metrics: MetricsRegistry
    private let log: Logger
    private let leads: Gauge

    private var metricsServer: HTTPServer?
    private var leading: Task<Void, Never>?

    init(
        settings: CoordinatorSettings,
        loop: EventLoop,
        metrics: MetricsRegistry,
        log: Logger
    ) {
        self.settings = settings
        self.loop = loop
        self.metrics = metrics
        self.log = log
        leads = metrics.gauge(
            "tessera_coordinator_leads",
            help: "1 in the coordinator that moves buckets, 0 in a stand-by."
        )
    }

    func begin() throws {
        loop.assertOnLoop()
        try startMetrics()
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

    private func startMetrics() throws {
        guard settings.metricsPort > 0 else { return }
        let server = HTTPServer(loop: loop) { [metrics] request in
            guard request.path == "/metrics" else {
                return .text("/metrics is here.\n", status: 404)
            }
            return Response(
                contentType: MetricsRegistry.contentType,
                Array(metrics.render().utf8)
            )
        }
        _ = try server.listen(address: settings.metricsAddress, port: settings.metricsPort)
        metricsServer = server
    }

    /// Gives the lease back, so that a stand-by need not wait for its end.
    func drain() async {
        loop.assertOnLoop()
        leading?.cancel()
        await leading?.value
        await metricsServer?.drain(deadline: .milliseconds(100))
    }
}
