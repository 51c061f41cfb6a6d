internal import Coordination
internal import JSON
internal import Sharding
internal import Simulation

/// A coordinator's process: the product's election and moves, and what carries their effects out.
final class SimulatedCoordinator {
    private unowned let world: MoveWorld
    let number: Int
    private var party: Party { .coordinator(number) }
    private var simulator: Simulator { world.simulator }

    private(set) var isUp = false
    private var life = 0
    private var pausedUntil = 0
    private var election = Election()
    private var driver: SimulatedDriver
    private var runners: [MoveID: Runner] = [:]
    private var isLoaded = false
    private var nextLook = 0

    /// A move, the effects that are still to be carried out, and how far its journal is.
    private struct Runner {
        var move: BucketMove
        var queue: [(effect: MoveEffect, serial: Int)] = []
        var turn = 0
        /// The newest entry; entries are numbered as they are made.
        var entry: [UInt8] = []
        var serial = 0
        var written = 0
        var isSending = false
        /// Of the entry in etcd; 0 where there is none.
        var revision: Int64
    }

    init(_ world: MoveWorld, _ number: Int) {
        self.world = world
        self.number = number
        driver = SimulatedDriver(world, .coordinator(number))
    }

    var term: Election.Term? { isUp ? election.term : nil }

    /// Leads, knows all moves, and has nothing to do for any.
    var isAtRest: Bool {
        isUp && term != nil && isLoaded
            && runners.values.allSatisfy { $0.move.step.isFinal && $0.move.doing == nil }
    }

    func isDoing(_ work: MoveWork, of id: MoveID) -> Bool { runners[id]?.move.doing == work }

    static func read(_ entry: [UInt8], _ policy: MovePolicy) -> BucketMove {
        do {
            return try BucketMove(journal: JSONReader.parse(entry), policy: policy)
        } catch {
            preconditionFailure("the journal cannot be read: \(error)")
        }
    }

    // MARK: Its life

    func start() {
        isUp = true
        election = Election()
        act(election.handle(.start))
        tick()
    }

    /// Everything that it knows is gone; what it has sent is not.
    func crash(for time: Int) {
        guard isUp else { return }
        world.tell("c\(number) crashes for \(time)")
        isUp = false
        life += 1
        runners = [:]
        isLoaded = false
        driver = SimulatedDriver(world, party)
        simulator.step(after: time) { [self] in start() }
    }

    /// Stops between two instructions, and goes on later as if nothing had been.
    func pause(for time: Int) {
        world.tell("c\(number) sleeps for \(time)")
        pausedUntil = max(pausedUntil, simulator.now + time)
    }

    /// Runs it in this life, and not while it is paused.
    private func resume(_ body: @escaping () -> Void) {
        let life = life
        guard simulator.now < pausedUntil else { return body() }
        simulator.step(within: pausedUntil - simulator.now...pausedUntil - simulator.now + 8) {
            [self] in
            guard self.life == life else { return }
            resume(body)
        }
    }

    private func later(_ time: Int, _ body: @escaping () -> Void) {
        let life = life
        simulator.step(after: time) { [self] in
            guard self.life == life else { return }
            resume(body)
        }
    }

    private func etcd<Value>(
        _ body: @escaping (FakeEtcd) -> Value,
        then: @escaping (Value?) -> Void
    ) {
        let life = life
        world.network.call(from: party, to: .etcd) {
            [world] (answer: @escaping (Value) -> Void) in
            if world.etcd.isUp { answer(body(world.etcd)) } else { return }
        } answered: { [self] value in
            guard self.life == life else { return }
            resume { then(value) }
        }
        // A server that is down does not answer at all; its caller's patience is in the network.
        if !world.etcd.isUp { later(1_000) {} }
    }

    // MARK: Election

    private func act(_ effects: [Election.Effect]) {
        for effect in effects {
            switch effect {
            case .grantLease(let ttl):
                let time = simulator
                etcd {
                    $0.grant(now: time.now, milliseconds: ttl.milliseconds)
                } then: { [self] in
                    elect($0.map { .leaseGranted($0) } ?? .unanswered)
                }
            case .takeKey(let lease):
                let time = simulator
                etcd {
                    $0.take(lease, now: time.now)
                } then: { [self] in
                    switch $0 {
                    case .mine(let term): elect(.taken(lease: lease, term))
                    case .held: elect(.keyIsHeld)
                    case .noLease: elect(.leaseLost(lease))
                    case nil: elect(.unanswered)
                    }
                }
            case .renew(let lease):
                let time = simulator
                etcd {
                    $0.renew(lease, now: time.now, milliseconds: Election.leaseTime.milliseconds)
                } then: { [self] in
                    switch $0 {
                    case true?: elect(.leaseRenewed(lease))
                    case false?: elect(.leaseLost(lease))
                    case nil: elect(.unanswered)
                    }
                }
            case .revoke(let lease):
                etcd {
                    $0.revoke(lease)
                } then: { _ in
                }
            case .wait(let time, let turn):
                later(time.milliseconds) { [self] in elect(.waited(turn: turn)) }
            case .lead(let term):
                world.tell("c\(number) leads since \(term)")
                load()
            case .stepDown:
                world.tell("c\(number) steps down")
                runners = [:]
                isLoaded = false
            }
        }
    }

    private func elect(_ event: Election.Event) { act(election.handle(event)) }

    // MARK: Leading

    /// Takes up every move of the journal.
    private func load() {
        guard let term else { return }
        etcd {
            $0.journal
        } then: { [self] journal in
            guard self.term == term, !isLoaded else { return }
            guard let journal else { return later(500) { [self] in load() } }
            isLoaded = true
            for (id, written) in journal.sorted(by: { $0.key < $1.key }) {
                runners[id] = Runner(
                    move: Self.read(written.entry, world.scenario.policy),
                    revision: written.revision
                )
                handle(.begin, by: id)
            }
        }
    }

    /// Looks at what is wanted, again and again.
    private func tick() {
        later(400) { [self] in
            tick()
            guard term != nil, isLoaded else { return }
            etcd {
                ($0.wanted, $0.map)
            } then: { [self] in
                guard let (wanted, map) = $0, term != nil, isLoaded else { return }
                for id in wanted.aborts.sorted() { handle(.abortAsked(reason: "asked"), by: id) }
                for id in wanted.rollbacks.sorted() { handle(.rollbackAsked(as: nextID), by: id) }
                startMoves(wanted, map)
                endRollbacks()
            }
            if simulator.now >= nextLook {
                nextLook = simulator.now + 10_000
                for (id, runner) in runners.sorted(by: { $0.key < $1.key })
                where runner.move.step.isFinal {
                    handle(.begin, by: id)
                }
            }
        }
    }

    /// A name that no move has or has been promised.
    private var nextID: MoveID {
        let known =
            runners.keys.map(\.number) + runners.values.compactMap { $0.move.handedTo?.number }
        return MoveID(number: (known.max() ?? 0) + 1)!
    }

    private func startMoves(_ wanted: FakeEtcd.Wanted, _ map: ShardMap) {
        var steps: [Plan.Step] = []
        if wanted.balances {
            // A plan is made when nothing is under way, so that it is about what is.
            guard runners.values.allSatisfy({ $0.move.step.isFinal }) else { return }
            steps = world.plan(wanted, map)
        } else if let (buckets, target) = wanted.steps.first {
            let source = map[buckets[0]].shard
            let moving = buckets.filter { map[$0].shard == source }
            if source == target || moving.isEmpty {
                etcd {
                    $0.wanted.steps.removeFirst(min(1, $0.wanted.steps.count))
                } then: { _ in
                }
                return
            }
            steps = [
                Plan.Step(
                    source: source,
                    target: target,
                    buckets: moving.sorted(),
                    bytes: 1,
                    reason: .balance
                )
            ]
            let needed = Set(moving)
            for (id, runner) in runners.sorted(by: { $0.key < $1.key })
            where !needed.isDisjoint(with: runner.move.spec.buckets) {
                handle(.retireAsked, by: id)
            }
        }
        var schedule = MoveSchedule(
            moves: runners.values.map(\.move),
            limits: world.scenario.limits
        )
        let started = schedule.start(steps)
        for step in started {
            start(
                MoveSpec(
                    id: nextID,
                    source: step.source,
                    target: step.target,
                    buckets: step.buckets
                )!
            )
        }
        if !started.isEmpty, !wanted.balances {
            // Each step is tried once, whatever becomes of it.
            etcd {
                $0.wanted.steps.removeFirst(min(1, $0.wanted.steps.count))
            } then: { _ in
            }
        }
    }

    /// A new move; its first effects wait for its first entry.
    private func start(_ spec: MoveSpec) {
        guard runners[spec.id] == nil else { return }
        var runner = Runner(
            move: BucketMove(spec: spec, policy: world.scenario.policy),
            revision: 0
        )
        runner.entry = runner.move.jsonBytes
        runner.serial = 1
        runner.queue = [(.journal, 1)]
        runners[spec.id] = runner
        handle(.begin, by: spec.id)
    }

    /// Tells moves that wait for their rollback what became of it.
    private func endRollbacks() {
        for (id, runner) in runners.sorted(by: { $0.key < $1.key }) {
            guard let other = runner.move.handedTo, !runner.move.step.isFinal,
                let back = runners[other]?.move, back.step.isFinal
            else { continue }
            handle(.rollbackEnded(back.step), by: id)
        }
    }

    // MARK: Moves

    private func handle(_ event: MoveEvent, by id: MoveID) {
        guard isUp, var runner = runners[id] else { return }
        let step = runner.move.step
        let effects = runner.move.handle(event)
        if !effects.isEmpty {
            world.tell("c\(number) \(id) \(event) -> \(runner.move.step): \(effects)")
        }
        if effects.contains(.journal) || effects.contains(.note) {
            runner.serial += 1
            runner.entry = runner.move.jsonBytes
        }
        let serial = runner.serial
        runner.queue += effects.map { ($0, serial) }
        for case .perform(_, let turn, _) in effects { runner.turn = turn }
        for case .wait(_, let turn) in effects where turn > 0 { runner.turn = turn }
        runners[id] = runner
        if !effects.isEmpty, !world.isQuiet, simulator.chance(world.network.faults.crashAtEffect) {
            // Before it has done anything of it, or after: what it sent is on its way then.
            let before = simulator.chance(0.5)
            if !before { carryOut(id) }
            world.crashes[step, default: 0] += 1
            return crash(for: Int.random(in: 100...8_000, using: &simulator.random))
        }
        carryOut(id)
    }

    private func carryOut(_ id: MoveID) {
        while isUp, let runner = runners[id], let next = runner.queue.first {
            if case .journal = next.effect, runner.written < next.serial { return write(id) }
            runners[id]!.queue.removeFirst()
            switch next.effect {
            case .journal: break
            case .note: write(id)
            case .perform(let work, let turn, let limit):
                // Work that nobody waits for any more is not begun.
                guard turn == runner.turn else { continue }
                perform(work, turn, limit, of: id)
            case .wait(let time, let turn):
                let term = term
                later(time.milliseconds) { [self] in
                    guard self.term == term else { return }
                    handle(.waited(turn: turn), by: id)
                }
            case .start(let spec): start(spec)
            case .finished: break
            }
        }
    }

    /// Has the newest entry written, one request at a time.
    private func write(_ id: MoveID) {
        guard let term, let runner = runners[id], !runner.isSending,
            runner.written < runner.serial
        else { return }
        runners[id]!.isSending = true
        let time = simulator
        etcd {
            $0.write(id, runner.entry, over: runner.revision, term: term, now: time.now)
        } then: { [self] answer in
            guard self.term == term, runners[id] != nil else { return }
            switch answer {
            case .written(let revision)?:
                runners[id]!.isSending = false
                runners[id]!.revision = revision
                runners[id]!.written = max(runners[id]!.written, runner.serial)
                write(id)
                carryOut(id)
            case .stale(let revision)?:
                // A request of its own that it thought lost: nobody else may write.
                runners[id]!.isSending = false
                runners[id]!.revision = revision
                write(id)
            case .notLeader?: elect(.refusedAsLeader)
            case nil:
                later(200) { [self] in
                    guard runners[id] != nil else { return }
                    runners[id]!.isSending = false
                    write(id)
                }
            }
        }
    }

    private func perform(_ work: MoveWork, _ turn: Int, _ limit: Duration?, of id: MoveID) {
        let life = life
        let term = term
        let driver = driver
        if let limit {
            later(limit.milliseconds) { [self] in
                guard self.term == term else { return }
                handle(.failed(turn: turn, .down), by: id)
            }
        }
        driver.perform(work, of: runners[id]!.move.spec) { [self] result in
            guard self.life == life else { return }
            resume { [self] in
                // It may have lost the lead and won it again: then the move was taken up anew.
                guard self.term == term else { return }
                switch result {
                case .success(let fact): handle(.done(turn: turn, fact), by: id)
                case .failure(let failure): handle(.failed(turn: turn, failure), by: id)
                }
            }
        }
    }
}

extension Duration {
    var milliseconds: Int {
        Int(components.seconds) * 1_000 + Int(components.attoseconds / 1_000_000_000_000_000)
    }
}
