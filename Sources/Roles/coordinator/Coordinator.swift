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
    // @unchecked: the variables are touched on `loop` only.
    /// How long one that cannot read the journal leaves the lead to others.
    private static let unfitPause = Duration.seconds(15)

    static let name = "coordinator"
    static let summary = "moves buckets between shards; run two, of which one stands by"
    static let table = CoordinatorSettings.table

    private let settings: CoordinatorSettings
    private let loop: EventLoop
    private let log: Logger
    private let instruments: MoveInstruments
    private var leadership: Leadership?
    private var leading: Task<Void, Never>?
    private var isStopping = false

    init(_ values: SettingValues, _ parts: ProcessParts) throws {
        settings = try CoordinatorSettings(values)
        loop = parts.loops[0]
        log = parts.log
        instruments = MoveInstruments(parts.metrics)
    }

    func start() async throws {
        try await onLoop(loop) { self.begin() }
    }

    private func begin() {
        let etcd = EtcdClient(loop: loop, settings: settings.etcd)
        leading = loop.spawnTask {
            await self.standBy(etcd)
            etcd.close()
        }
        log.notice("standing by", metadata: ["name": "\(settings.name)"])
    }

    /// Until the process ends.
    private func standBy(_ etcd: EtcdClient) async {
        let workshop = Workshop(etcd: etcd, settings: settings.driver)
        while !isStopping {
            let leadership = Leadership(etcd: etcd, name: settings.name) { [log] trouble in
                log.warning("leadership", metadata: ["trouble": "\(trouble)"])
            }
            self.leadership = leadership
            await leadership.hold { await self.lead($0, etcd, workshop, leadership) }
            self.leadership = nil
            // Ends early only by cancellation, which comes with the end of the process.
            if !isStopping { try? await loop.sleep(for: Self.unfitPause) }
        }
    }

    private func lead(
        _ term: LeaderTerm,
        _ etcd: EtcdClient,
        _ workshop: Workshop,
        _ leadership: Leadership
    ) async {
        log.notice("leading", metadata: ["term": "\(term.revision)"])
        instruments.leads.set(1)
        do {
            let conductor = Conductor(
                etcd: etcd,
                term: term,
                settings: settings,
                workshop: workshop,
                instruments: instruments,
                log: log
            )
            try await conductor.run()
            leadership.refused()
        } catch let trouble as JournalTrouble {
            log.critical("cannot lead", metadata: ["trouble": "\(trouble)"])
            // Another coordinator, of a newer version, may be able to.
            leadership.stop()
        } catch {
            log.warning("the term ends", metadata: ["trouble": "\(error)"])
            leadership.refused()
        }
        instruments.leads.set(0)
        log.notice("no longer leading", metadata: ["term": "\(term.revision)"])
    }

    /// Gives the lease back, so that a stand-by need not wait for its end.
    func drain() async {
        // Nothing in it throws.
        try? await onLoop(loop) {
            self.isStopping = true
            if let leadership = self.leadership {
                leadership.stop()
            } else {
                self.leading?.cancel()
            }
            await self.leading?.value
        }
    }
}
