internal import Coordination
internal import Sharding
internal import Simulation

/// Does a move's work on the fake shards, as transactions with messages between them.
///
/// It knows the spec and the work, nothing else, as the product's driver does; what it keeps between two transactions of one
/// work dies with the coordinator.
final class SimulatedDriver {
    private unowned let world: MoveWorld
    private let party: Party
    /// The snapshots that this coordinator holds.
    private var snapshots: [MoveID: (run: Int, rows: [(BucketID, Int, Int)])] = [:]

    typealias Answer = Result<MoveFact, MoveFailure>

    init(_ world: MoveWorld, _ party: Party) {
        self.world = world
        self.party = party
    }

    /// One transaction on a shard; a shard that is down fails it.
    private func on<Value>(
        _ shard: ShardID,
        _ body: @escaping (FakeShard) throws -> Value,
        then: @escaping (Result<Value, MoveFailure>) -> Void
    ) {
        let shard = world.shard(shard)
        world.network.call(from: party, to: world.party(of: shard.id)) {
            (answer: @escaping (Result<Value, MoveFailure>) -> Void) in
            guard shard.isUp else { return answer(.failure(.down)) }
            answer(Result { try body(shard) }.mapError { $0 as! MoveFailure })
        } answered: {
            then($0 ?? .failure(.down))
        }
    }

    /// Both, one after the other.
    private func onBoth(
        _ first: (ShardID, (FakeShard) throws -> Void),
        _ second: (ShardID, (FakeShard) throws -> Void),
        then: @escaping (Answer) -> Void
    ) {
        on(first.0, first.1) { [self] result in
            if case .failure(let failure) = result { return then(.failure(failure)) }
            on(second.0, second.1) { then($0.map { .nothing }) }
        }
    }

    func perform(_ work: MoveWork, of spec: MoveSpec, _ done: @escaping (Answer) -> Void) {
        let flaw = world.flaw
        switch work {
        case .observe(let run): observe(spec, run, done)
        case .precheck:
            on(spec.source, { try $0.ownedEpochs(spec.buckets) }) { [self] result in
                if case .failure(let failure) = result { return done(.failure(failure)) }
                on(spec.target, { _ in }) { done($0.map { .size(rows: 1, bytes: 1) }) }
            }
        case .prepareTarget: prepareTarget(spec, done)
        case .openStream(let run): openStream(spec, run, done)
        case .copy(let run): copy(spec, run, done)
        case .attachStream(let run):
            on(spec.source, { $0.slots[FakeShard.forward(spec.id, run)] != nil }) { [self] result in
                guard case .success(true) = result else { return done(result.lost) }
                on(spec.target, { try $0.subscribe(spec, run: run, flaw: flaw) }) { [self] in
                    world.pump(to: spec.target)
                    done($0.map { .nothing })
                }
            }
        case .measureLag(let run):
            measureLag(FakeShard.stream(spec, run), from: spec.source, to: spec.target, done)
        case .measureReverse:
            measureLag(FakeShard.reverse(spec.id), from: spec.target, to: spec.source, done)
        case .verify(let run): compare(spec, run, done)
        case .compareTail:
            // Weaker than the product's, so that nothing stands on it; now and then it finds a difference.
            let differs = world.simulator.chance(world.network.faults.isUnkind ? 0.03 : 0)
            on(spec.target, { _ in }) {
                done($0.map { .compared(source: "", target: differs ? "?" : "") })
            }
        case .prepareReverse:
            on(
                spec.target,
                { shard in
                    let name = FakeShard.reverse(spec.id)
                    guard shard.slots[name] == nil else { return }
                    shard.slots[name] = FakeShard.Slot(
                        move: spec.id,
                        buckets: Set(spec.buckets),
                        position: shard.log.count
                    )
                }
            ) { done($0.map { .nothing }) }
        case .fence(let attempt, let epochs): fence(spec, attempt, epochs, done)
        case .awaitMarker(let attempt): awaitMarker(spec, attempt, done)
        case .advanceReverse:
            on(
                spec.target,
                { shard in
                    // Only while nobody but the stream writes here.
                    guard shard.owners[spec.buckets[0]]?.state == .incoming else { return }
                    shard.slots[FakeShard.reverse(spec.id)]?.position = shard.log.count
                }
            ) { done($0.map { .nothing }) }
        case .release(let attempt):
            if flaw == .activatesUnreleased { return done(.success(.nothing)) }
            on(spec.source, { try $0.release(spec, attempt) }) { done($0.map { .nothing }) }
        case .giveUp(let attempt, let epochs):
            on(spec.source, { try $0.giveUp(spec.buckets, attempt, epochs, flaw: flaw) }) {
                done($0.map { $0.map { .gaveUp($0) } ?? .released })
            }
        case .activate(let attempt, let epochs):
            on(spec.target, { try $0.activate(spec, attempt, epochs) }) {
                done($0.map { .nothing })
            }
        case .publish(let owner, let epochs): publish(spec, owner, epochs, done)
        case .settleSource(let attempt):
            on(spec.source, { $0.settle(spec, attempt) }) { done($0.map { .nothing }) }
        case .detachStream: detach(spec, done)
        case .startReverse:
            on(spec.target, { $0.slots[FakeShard.reverse(spec.id)] != nil }) { [self] result in
                guard case .success(true) = result else { return done(result.lost) }
                on(
                    spec.source,
                    { shard in
                        shard.subscriptions[FakeShard.reverse(spec.id)] = FakeShard.Subscription(
                            move: spec.id,
                            publisher: spec.target
                        )
                    }
                ) { [self] in
                    world.pump(to: spec.source)
                    done($0.map { .nothing })
                }
            }
        case .stopReverse:
            let name = FakeShard.reverse(spec.id)
            onBoth(
                (spec.source, { $0.subscriptions[name] = nil }),
                (spec.target, { $0.slots[name] = nil }),
                then: done
            )
        case .clean(let epochs):
            onBoth(
                (spec.source, { $0.clean(spec, epochs, flaw: flaw) }),
                (
                    spec.target,
                    { shard in
                        shard.dropMarkers(of: spec)
                        shard.dropStreams(of: spec.id)
                    }
                ),
                then: done
            )
        case .undo:
            onBoth(
                (spec.target, { $0.undoTarget(spec, flaw: flaw) }),
                (
                    spec.source,
                    { shard in
                        shard.dropMarkers(of: spec)
                        shard.dropStreams(of: spec.id)
                    }
                ),
                then: done
            )
        }
    }

    // MARK: The longer ones

    private func observe(_ spec: MoveSpec, _ run: Int, _ done: @escaping (Answer) -> Void) {
        on(spec.source, { $0.side(spec, run, isSource: true) }) { [self] source in
            on(spec.target, { $0.side(spec, run, isSource: false) }) { target in
                let seen = ObservedMove(source: try? source.get(), target: try? target.get())
                done(.success(.observed(seen)))
            }
        }
    }

    private func prepareTarget(_ spec: MoveSpec, _ done: @escaping (Answer) -> Void) {
        on(spec.source, { try $0.ownedEpochs(spec.buckets) }) { [self] result in
            switch result {
            case .failure(let failure): done(.failure(failure))
            case .success(let epochs):
                on(spec.target, { try $0.markIncoming(spec, epochs.map(\.next)) }) {
                    done($0.map { .epochs(epochs) })
                }
            }
        }
    }

    private func openStream(_ spec: MoveSpec, _ run: Int, _ done: @escaping (Answer) -> Void) {
        let flaw = world.flaw
        on(spec.target, { try $0.empty(for: spec, run: run, flaw: flaw) }) { [self] result in
            if case .failure(let failure) = result { return done(.failure(failure)) }
            on(spec.source, { try $0.openSlot(spec, run: run) }) { [self] result in
                done(
                    result.map { rows in
                        snapshots[spec.id] = (run, rows)
                        return .nothing
                    }
                )
            }
        }
    }

    private func copy(_ spec: MoveSpec, _ run: Int, _ done: @escaping (Answer) -> Void) {
        guard let snapshot = snapshots[spec.id], snapshot.run == run else {
            return done(.failure(MoveFailure(kind: .lost, message: "no snapshot")))
        }
        let half = snapshot.rows.count / 2
        let flaw = world.flaw
        let (first, second) = (Array(snapshot.rows[..<half]), Array(snapshot.rows[half...]))
        // Copying takes its time, which is when others write.
        world.simulator.step(within: 50...800) { [self] in
            on(spec.target, { try $0.fill(first, for: spec, run: run, flaw: flaw) }) {
                [self] result in
                if case .failure(let failure) = result { return done(.failure(failure)) }
                on(spec.target, { try $0.fill(second, for: spec, run: run, flaw: flaw) }) {
                    done($0.map { .copied(rows: Int64(snapshot.rows.count), bytes: 1) })
                }
            }
        }
    }

    private func measureLag(
        _ name: String,
        from: ShardID,
        to: ShardID,
        _ done: @escaping (Answer) -> Void
    ) {
        on(from, { shard -> Int? in shard.slots[name].map { shard.log.count - $0.position } }) {
            [self] result in
            guard case .success(let lag?) = result else { return done(result.lost) }
            on(to, { $0.subscriptions[name] != nil }) { result in
                guard case .success(true) = result else { return done(result.lost) }
                done(.success(.lag(bytes: Int64(lag) * 16_384, oldestWriter: .zero)))
            }
        }
    }

    /// Digests at equal positions, which it waits for.
    private func compare(_ spec: MoveSpec, _ run: Int, _ done: @escaping (Answer) -> Void) {
        let name = FakeShard.stream(spec, run)
        on(spec.source, { $0.slots[name] != nil }) { [self] result in
            guard case .success(true) = result else { return done(result.lost) }
            on(
                spec.target,
                { [world] target -> MoveFact? in
                    let source = world.shard(spec.source)
                    guard let slot = source.slots[name], source.hasDelivered(slot) else {
                        return nil
                    }
                    return .compared(source: source.digest(spec), target: target.digest(spec))
                }
            ) { [self] result in
                switch result {
                case .success(let fact?): done(.success(fact))
                case .failure(let failure): done(.failure(failure))
                case .success(nil):
                    world.simulator.step(after: 5) { [self] in
                        guard world.isWanted(spec, .verify(run: run)) else { return }
                        compare(spec, run, done)
                    }
                }
            }
        }
    }

    private func fence(
        _ spec: MoveSpec,
        _ attempt: FenceAttempt,
        _ epochs: [Epoch],
        _ done: @escaping (Answer) -> Void
    ) {
        let shard = world.shard(spec.source)
        world.network.call(from: party, to: world.party(of: shard.id)) {
            [world] (answer: @escaping (Answer) -> Void) in
            guard shard.isUp else { return answer(.failure(.down)) }
            let locked = world.flaw == .fenceLocksShard ? world.buckets : spec.buckets
            for bucket in locked { shard.locking[bucket, default: []].append(spec) }
            let life = shard.life
            world.holdLocks(of: shard, spec, life: life, until: world.simulator.now + 400) {
                let result = Result {
                    try shard.fence(spec, attempt, epochs, flaw: world.flaw)
                    return MoveFact.nothing
                }
                answer(result.mapError { $0 as! MoveFailure })
            }
        } answered: {
            done($0 ?? .failure(.down))
        }
    }

    private func awaitMarker(
        _ spec: MoveSpec,
        _ attempt: FenceAttempt,
        _ done: @escaping (Answer) -> Void
    ) {
        if world.flaw == .skipsMarker { return done(.success(.nothing)) }
        on(spec.target, { $0.hasMarkers(spec, attempt) }) { [self] result in
            switch result {
            case .success(true): done(.success(.nothing))
            case .failure(let failure): done(.failure(failure))
            case .success(false):
                world.simulator.step(after: 3) { [self] in
                    // The limit of the work ends it; nobody listens after that.
                    guard world.isWanted(spec, .awaitMarker(attempt)) else { return }
                    awaitMarker(spec, attempt, done)
                }
            }
        }
    }

    private func publish(
        _ spec: MoveSpec,
        _ owner: ShardID,
        _ epochs: [Epoch],
        _ done: @escaping (Answer) -> Void
    ) {
        world.network.call(from: party, to: .etcd) {
            [world] (answer: @escaping (Answer) -> Void) in
            guard world.etcd.isUp else { return answer(.failure(.down)) }
            world.publish(spec.buckets, owner, epochs)
            answer(.success(.nothing))
        } answered: {
            done($0 ?? .failure(.down))
        }
    }

    private func detach(_ spec: MoveSpec, _ done: @escaping (Answer) -> Void) {
        if world.flaw == .leavesStream { return done(.success(.nothing)) }
        var move = spec.id
        if case .rollback(let of) = spec.kind { move = of }
        onBoth(
            (spec.target, { $0.dropStreams(of: move, besides: FakeShard.reverse(spec.id)) }),
            (spec.source, { $0.dropStreams(of: move, besides: FakeShard.reverse(spec.id)) }),
            then: done
        )
    }
}

extension MoveFailure {
    static let down = MoveFailure(kind: .transient, message: "no answer")
}

extension Result where Failure == MoveFailure {
    /// For an answer that was not as hoped: what a stream stands on is not there.
    fileprivate var lost: SimulatedDriver.Answer {
        switch self {
        case .failure(let failure): .failure(failure)
        case .success: .failure(MoveFailure(kind: .lost, message: "the stream is gone"))
        }
    }
}
