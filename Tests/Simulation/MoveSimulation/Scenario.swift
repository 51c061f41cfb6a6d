internal import Coordination
internal import Sharding
internal import Simulation

/// What a run is made of: how many take part, what is wanted of them, and what goes wrong meanwhile.
package struct Scenario: Sendable {
    package let name: String
    /// For the list that `simulate --help` prints.
    package let summary: String
    var coordinatorCount = 2
    var nodeCount = 2
    var shardCount = 3
    /// So many have buckets at first.
    var shardsInUse = 3
    var hasWorker = false
    var faults = Faults()
    /// No request may fail.
    var mustSucceed = false
    var policy: MovePolicy = .simulated
    var limits = MoveLimits(perSource: 2, perTarget: 2, total: 4)
    /// Called when the cluster is there: arranges what is wanted.
    var arrange: @Sendable (MoveWorld) -> Void

    func prepare(_ world: MoveWorld) { arrange(world) }

    package static func named(_ name: String) -> Scenario? { all.first { $0.name == name } }

    package static let all: [Scenario] = [
        Scenario(
            name: "calm",
            summary: "moves without any fault: no request may fail",
            mustSucceed: true,
            arrange: { $0.wantMoves(every: 2_500) }
        ),
        Scenario(
            name: "crashes",
            summary: "coordinators and shards die at any point; shards may lose their slots",
            coordinatorCount: 3,
            faults: Faults(
                loss: 0.01,
                duplicate: 0.05,
                slow: 0.01,
                coordinatorCrash: 12_000,
                shardCrash: 9_000,
                crashAtEffect: 0.04
            ),
            arrange: { $0.wantMoves(every: 2_500) }
        ),
        Scenario(
            name: "partitions",
            summary: "links break, etcd stops, messages are lost, late and repeated",
            coordinatorCount: 3,
            hasWorker: true,
            faults: Faults(
                loss: 0.03,
                duplicate: 0.1,
                slow: 0.03,
                nodePause: 6_000,
                cut: 1_500,
                etcdStop: 12_000
            ),
            arrange: { $0.wantMoves(every: 2_500) }
        ),
        Scenario(
            name: "splitBrain",
            summary: "coordinators sleep longer than their lease, wake up and go on",
            coordinatorCount: 3,
            hasWorker: true,
            faults: Faults(
                duplicate: 0.15,
                slow: 0.06,
                coordinatorPause: 3_000,
                nodePause: 4_000,
                crashAtEffect: 0.01
            ),
            arrange: { $0.wantMoves(every: 2_500) }
        ),
        Scenario(
            name: "rollback",
            summary: "moves are rolled back while their reverse stream runs, under faults",
            faults: Faults(
                loss: 0.01,
                duplicate: 0.05,
                slow: 0.01,
                coordinatorCrash: 15_000,
                shardCrash: 15_000,
                crashAtEffect: 0.02
            ),
            policy: .simulated(retention: .seconds(12)),
            arrange: { world in
                world.wantMoves(every: 6_000)
                world.wantRollbacks()
            }
        ),
        Scenario(
            name: "abort",
            summary: "moves are aborted at any step, under faults",
            faults: Faults(
                loss: 0.01,
                duplicate: 0.05,
                slow: 0.03,
                coordinatorCrash: 15_000,
                crashAtEffect: 0.02
            ),
            arrange: { world in
                world.wantMoves(every: 2_500)
                world.wantAborts()
            }
        ),
        Scenario(
            name: "grow",
            summary: "a shard joins and gets its share by plan, under faults",
            shardCount: 4,
            faults: .some,
            arrange: { $0.etcd.wanted.balances = true }
        ),
        Scenario(
            name: "drain",
            summary: "a shard is emptied by plan, under faults",
            shardCount: 4,
            shardsInUse: 4,
            faults: .some,
            arrange: { world in
                world.etcd.wanted.balances = true
                world.etcd.wanted.drains = [world.shards[3].id]
            }
        ),
        Scenario(
            name: "isolate",
            summary: "one bucket gets a shard of its own, under faults",
            faults: .some,
            arrange: { world in
                world.etcd.wanted.balances = true
                world.etcd.wanted.isolated = [world.buckets[0]: world.shards[2].id]
            }
        ),
    ]
}

extension Faults {
    static let some = Faults(
        loss: 0.005,
        duplicate: 0.05,
        slow: 0.01,
        coordinatorCrash: 15_000,
        coordinatorPause: 12_000,
        shardCrash: 15_000,
        cut: 6_000,
        crashAtEffect: 0.01
    )
}

extension MovePolicy {
    static let simulated = simulated(retention: .seconds(3))

    /// The product's, with a retention that fits into a run.
    static func simulated(retention: Duration) -> MovePolicy {
        var policy = MovePolicy()
        policy.retention = retention
        policy.retentionSlice = .seconds(1)
        policy.workLimit = .seconds(5)
        policy.longestWait = .seconds(4)
        return policy
    }
}

extension MoveWorld {
    /// Random buckets to random shards, until the trouble is over.
    func wantMoves(every time: Int) {
        simulator.step(within: time / 2...time * 3 / 2) { [self] in
            guard !isQuiet else { return }
            let count = Int.random(in: 1...3, using: &simulator.random)
            let moving = Set(
                (0..<count).map { _ in buckets.randomElement(using: &simulator.random)! }
            )
            let target = shards.randomElement(using: &simulator.random)!.id
            if etcd.wanted.steps.count < 4 {
                etcd.wanted.steps.append((moving.sorted(), target))
            }
            wantMoves(every: time)
        }
    }

    /// Some moves, whatever they are at.
    func wantAborts() {
        simulator.step(within: 300...2_000) { [self] in
            guard !isQuiet else { return }
            if let id = etcd.journal.keys.max(), simulator.chance(0.5) {
                etcd.wanted.aborts.insert(id)
            }
            wantAborts()
        }
    }

    func wantRollbacks() {
        simulator.step(within: 1_000...5_000) { [self] in
            guard !isQuiet else { return }
            if let id = etcd.journal.keys.randomElement(using: &simulator.random) {
                etcd.wanted.rollbacks.insert(id)
            }
            wantRollbacks()
        }
    }

    func plan(_ wanted: FakeEtcd.Wanted, _ map: ShardMap) -> [Plan.Step] {
        let weights = BucketID.all.map { bucket in
            BucketWeight(bytes: Int(bucket.rawValue) < buckets.count ? 1_000 : 0)
        }
        let input = PlanInput(
            map: map,
            weights: weights,
            drains: wanted.drains,
            pins: wanted.pins,
            isolated: wanted.isolated
        )
        do {
            return try Planner.plan(input).steps
        } catch {
            fail("no plan: \(error)")
            return []
        }
    }

    // MARK: What goes wrong

    func arrangeFaults() {
        let faults = network.faults
        every(faults.coordinatorCrash) { [self] in
            let time = Int.random(in: 200...9_000, using: &simulator.random)
            coordinators.randomElement(using: &simulator.random)!.crash(for: time)
        }
        every(faults.coordinatorPause) { [self] in
            let time = Int.random(in: 100...14_000, using: &simulator.random)
            let leader = coordinators.first { $0.term != nil }
            let anyone = coordinators.randomElement(using: &simulator.random)!
            (simulator.chance(0.7) ? leader ?? anyone : anyone).pause(for: time)
        }
        every(faults.nodePause) { [self] in
            let time = Int.random(in: 100...8_000, using: &simulator.random)
            nodes.randomElement(using: &simulator.random)!.pause(for: time)
        }
        every(faults.shardCrash) { [self] in
            let shard = shards.randomElement(using: &simulator.random)!
            guard shard.isUp else { return }
            let losing = simulator.chance(faults.failover)
            tell("\(shard.id) crashes, losing slots: \(losing)")
            shard.crash(losingSlots: losing)
            simulator.step(within: 100...5_000) { [self] in
                shard.isUp = true
                for shard in shards { pump(to: shard.id) }
            }
        }
        every(faults.cut) { [self] in
            let all = parties
            let a = all.randomElement(using: &simulator.random)!
            let b = all.randomElement(using: &simulator.random)!
            network.cut(a, b, for: Int.random(in: 100...8_000, using: &simulator.random))
        }
        every(faults.etcdStop) { [self] in
            etcd.isUp = false
            simulator.step(within: 500...9_000) { [self] in etcd.isUp = true }
        }
        simulator.step(after: Self.trouble) { [self] in
            network.faults.loss = 0
            network.faults.duplicate = 0
            network.faults.slow = 0
            network.faults.crashAtEffect = 0
        }
    }

    private var parties: [Party] {
        shards.indices.map { .shard($0) } + coordinators.map { .coordinator($0.number) }
            + nodes.indices.map { .node($0) } + [.etcd, .worker]
    }

    private func every(_ mean: Int?, _ body: @escaping () -> Void) {
        guard let mean else { return }
        simulator.step(within: mean / 4...mean * 7 / 4) { [self] in
            guard !isQuiet else { return }
            body()
            every(mean, body)
        }
    }
}
