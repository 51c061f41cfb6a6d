import Coordination
import Etcd
import EventLoops
import JSON
import Journals
import Logging
import Metrics
import Sharding

/// One term of a leader: takes up the moves of the journal, starts those of the plan, hears what operators ask for.
final class Conductor: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    /// How often the operators' wishes are looked at.
    private static let lookInterval = Duration.milliseconds(500)

    private let etcd: EtcdClient
    private let loop: EventLoop
    private let term: LeaderTerm
    private let settings: CoordinatorSettings
    private let workshop: Workshop
    private let log: Logger
    private let moves: MoveStore
    private let intents: IntentStore
    private let progress: ProgressBoard
    private let instruments: MoveInstruments

    private var runners: [MoveID: MoveRunner] = [:]
    private var tasks: [MoveID: Task<Void, Never>] = [:]
    /// How moves that are over ended, and every other that the journal has.
    private var known: [MoveID: BucketMove] = [:]
    private var plan: PlanRecord?
    private var isOver = false
    /// Something has ended that others may have waited for.
    private let news: LoopSignal

    init(
        etcd: EtcdClient,
        term: LeaderTerm,
        settings: CoordinatorSettings,
        workshop: Workshop,
        instruments: MoveInstruments,
        log: Logger
    ) {
        self.etcd = etcd
        loop = etcd.loop
        self.term = term
        self.settings = settings
        self.workshop = workshop
        self.instruments = instruments
        self.log = log
        news = LoopSignal(loop: etcd.loop)
        moves = MoveStore(etcd: etcd)
        intents = IntentStore(etcd: etcd)
        progress = ProgressBoard(
            loop: etcd.loop,
            store: ProgressStore(etcd: etcd),
            term: term,
            workshop: workshop
        )
    }

    /// Until the task is cancelled or somebody else leads; throws what keeps this coordinator from leading.
    func run() async throws {
        let showing = loop.spawnTask { await self.progress.run() }
        let following = loop.spawnTask {
            await self.workshop.followMap { [log = self.log] trouble in
                log.warning("map", metadata: ["trouble": "\(trouble)"])
            }
        }
        defer {
            showing.cancel()
            following.cancel()
        }
        do {
            try await takeUp()
            while !Task.isCancelled && !isOver {
                try await look()
                await news.wait(atMost: Self.lookInterval)
            }
        } catch {
            await stop()
            if !Task.isCancelled { throw error }
        }
        await stop()
    }

    private func stop() async {
        isOver = true
        for task in tasks.values { task.cancel() }
        for task in tasks.values { await task.value }
        tasks.removeAll()
        runners.removeAll()
        instruments.active.set(0)
    }

    // MARK: Taking up

    private func takeUp() async throws {
        let all = try await moves.load(policy: settings.policy)
        for move in all { known[move.spec.id] = move }
        let unfinished = all.filter { !$0.step.isFinal }
        for move in unfinished { begin(move) }
        if !all.isEmpty {
            log.notice(
                "journal read",
                metadata: ["moves": "\(all.count)", "unfinished": "\(unfinished.count)"]
            )
        }
    }

    private func begin(_ move: BucketMove) {
        let id = move.spec.id
        let writer = JournalWriter(loop: loop, store: moves, term: term, id: id)
        let runner = MoveRunner(
            move,
            loop: loop,
            .init(workshop: workshop, progress: progress, journal: writer, log: log) {
                [unowned self] in try await self.start($0)
            }
        )
        runners[id] = runner
        instruments.active.set(Double(runners.count))
        tasks[id] = loop.spawnTask {
            do {
                try await runner.run()
                if runner.move.step.isFinal { self.finished(runner.move) }
            } catch {
                // The term is over; the successor takes the move up from the journal.
                self.isOver = true
                self.news.give()
            }
        }
    }

    private func finished(_ move: BucketMove) {
        let id = move.spec.id
        known[id] = move
        runners[id] = nil
        tasks[id] = nil
        news.give()
        instruments.ended(move)
        instruments.active.set(Double(runners.count))
        log.notice(
            "move over",
            metadata: [
                "move": "\(id)", "step": "\(move.step.rawValue)",
                "trouble": "\(move.undoing ?? move.trouble ?? "-")",
            ]
        )
        if case .rollback(let original) = move.spec.kind {
            runners[original]?.tell(.rollbackEnded(move.step))
        }
    }

    /// Another move: from the plan, or one that rolls another one back.
    private func start(_ spec: MoveSpec) async throws {
        if runners[spec.id] != nil { return }
        if let move = known[spec.id] {
            guard move.step.isFinal else { return begin(move) }
            if case .rollback(let original) = spec.kind {
                runners[original]?.tell(.rollbackEnded(move.step))
            }
            return
        }
        let move = BucketMove(spec: spec, policy: settings.policy)
        try await moves.write(spec.id, move.jsonBytes, in: term)
        known[spec.id] = move
        log.notice(
            "move begins",
            metadata: [
                "move": "\(spec.id)", "source": "\(spec.source)", "target": "\(spec.target)",
                "buckets": "\(spec.buckets.count)",
            ]
        )
        begin(move)
    }

    // MARK: What operators ask for

    private func look() async throws {
        let intent: ClusterIntent
        do {
            intent = try await intents.intent().value
            try await readPlan(approved: intent.approved)
        } catch let trouble as EtcdError {
            // What runs goes on; new wishes are heard when etcd answers again.
            log.warning("etcd", metadata: ["trouble": "\(trouble)"])
            return
        }
        for id in intent.aborts.sorted() {
            runners[id]?.tell(.abortAsked(reason: "by the operator"))
        }
        endRetentions(of: intent.removals)
        let open = runners.values.map(\.move)
        for id in MoveSchedule.surplus(among: open, perShard: settings.retainedPerShard) {
            runners[id]?.tell(.retireAsked)
        }
        try await rollBack(intent)
        try await forgetWishes(intent)
        guard !intent.paused, let plan, plan.fingerprint == intent.approved else { return }
        try await startMoves(of: plan)
    }

    private func readPlan(approved: String?) async throws {
        guard let approved, plan?.fingerprint != approved else { return }
        plan = try await intents.plan().value
        try await forgetHistory()
    }

    private func rollBack(_ intent: ClusterIntent) async throws {
        for id in intent.rollbacks.sorted() {
            guard let runner = runners[id], runner.move.canRollBack else { continue }
            runner.tell(.rollbackAsked(as: try await intents.draw()))
        }
    }

    /// Wishes that are fulfilled, or never can be, are taken out.
    private func forgetWishes(_ intent: ClusterIntent) async throws {
        let isOver: (MoveID) -> Bool = { self.known[$0]?.step.isFinal ?? true }
        let aborts = intent.aborts.filter { isOver($0) || runners[$0]?.move.undoing != nil }
        let rollbacks = intent.rollbacks.filter {
            isOver($0) || runners[$0]?.move.handedTo != nil
        }
        guard !aborts.isEmpty || !rollbacks.isEmpty else { return }
        try await intents.change { intent in
            intent.aborts.subtract(aborts)
            intent.rollbacks.subtract(rollbacks)
        }
    }

    private func startMoves(of plan: PlanRecord) async throws {
        let waiting = plan.moves.filter { known[$0.spec.id] == nil }
        guard !waiting.isEmpty else { return }
        endRetentions { !$0.isDisjoint(with: waiting.flatMap(\.spec.buckets)) }
        var schedule = MoveSchedule(moves: runners.values.map(\.move), limits: settings.limits)
        let steps = Set(schedule.start(waiting.map(\.step)))
        for planned in waiting where steps.contains(planned.step) { try await start(planned.spec) }
    }

    /// A way back is kept open only while nothing else is wanted of its buckets.
    private func endRetentions(where isWanted: (Set<BucketID>) -> Bool) {
        for runner in runners.values where runner.move.step == .reverseSync {
            if isWanted(Set(runner.move.spec.buckets)) { runner.tell(.retireAsked) }
        }
    }

    /// Shards that are about to go must not be needed for a way back.
    private func endRetentions(of leaving: Set<ShardID>) {
        for runner in runners.values where runner.move.step == .reverseSync {
            let spec = runner.move.spec
            if !leaving.isDisjoint(with: [spec.source, spec.target]) { runner.tell(.retireAsked) }
        }
    }

    private func forgetHistory() async throws {
        let over = known.values.filter(\.step.isFinal).map(\.spec.id).sorted()
        let surplus = over.dropLast(MoveStore.historyLimit).prefix(100)
        guard !surplus.isEmpty else { return }
        try await moves.forget(Array(surplus), in: term)
        for id in surplus { known[id] = nil }
    }
}
