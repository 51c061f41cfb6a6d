package import Coordination
package import Sharding
package import Simulation

/// A whole cluster in one thread, on virtual time: shards, etcd, coordinators, app nodes and a worker, with whatever goes wrong
/// among them.
///
/// The coordinators run the product's `Election`, `BucketMove`, `MoveSchedule` and `Planner`; everything around them is a model.
/// After `trouble` nothing goes wrong any more, and what is left must come to its end by `end`.
package final class MoveWorld {
    package let simulator: Simulator
    package let scenario: Scenario
    package let flaw: Flaw?
    let network: Network
    let etcd: FakeEtcd
    package let shards: [FakeShard]
    /// The buckets that have users; the others are on a shard that nobody looks at.
    package let buckets: [BucketID]
    private(set) var coordinators: [SimulatedCoordinator] = []
    private(set) var nodes: [SimulatedNode] = []
    private var places: [ShardID: Int] = [:]

    /// When the last thing goes wrong, and when all must be over.
    static let trouble = 30_000
    static let end = 150_000
    static let stepBound = 2_000_000
    static let bucketCount = 12

    /// What the checkers have found wrong.
    package private(set) var wrong: [String] = []
    /// For each step, how often a coordinator died at it.
    package var crashes: [MoveStep: Int] = [:]
    /// The longest time in which a bucket was owned by nobody, of those that began in quiet times.
    package private(set) var longestPause = 0
    package private(set) var finished: [MoveStep: Int] = [:]
    package var errors = 0
    package private(set) var acknowledged = 0

    /// Virtual milliseconds by which two machines' clocks may differ from the right time, each its own way.
    private static let clockSkew = 3_600_000

    private var newestID: [BucketID: Int] = [:]
    private var lastOwner: [BucketID: FakeShard] = [:]
    private var highest: [BucketID: Epoch] = [:]
    private var pausedSince: [BucketID: Int] = [:]
    /// Acknowledged additions to each counter, which a later read must show.
    private(set) var floors: [BucketID: [Int: Int]] = [:]
    private(set) var asked: [BucketID: Set<Int>] = [:]
    private var acked: [BucketID: Set<Int>] = [:]

    /// Hears what happens, a line at a time.
    package var narrator: ((String) -> Void)?

    func tell(_ what: @autoclosure () -> String) {
        if let narrator { narrator("\(simulator.now) \(what())") }
    }

    package init(seed: UInt64, scenario: Scenario, flaw: Flaw? = nil) {
        simulator = Simulator(seed: seed)
        self.scenario = scenario
        self.flaw = flaw
        network = Network(simulator, faults: scenario.faults)
        shards = (1...scenario.shardCount).map { FakeShard(ShardID("s\($0)")!, flaw: flaw) }
        buckets = Array(BucketID.all.prefix(Self.bucketCount))
        etcd = FakeEtcd(map: Self.map(shards, buckets, scenario))
        for (place, shard) in shards.enumerated() { places[shard.id] = place }
        prepare()
    }

    /// Users' buckets over the first shards; the rest in a region of its own.
    private static func map(
        _ shards: [FakeShard],
        _ buckets: [BucketID],
        _ scenario: Scenario
    ) -> ShardMap {
        let elsewhere = Region("elsewhere")!
        let member = ShardRecord.Member(host: "simulated", port: 1)
        var records = shards.map { ShardRecord(id: $0.id, members: [member]) }
        records.append(
            ShardRecord(id: ShardID("other")!, members: [member], region: elsewhere)
        )
        let entries = BucketID.all.map { bucket -> ShardMap.Entry in
            guard Int(bucket.rawValue) < buckets.count else {
                return .init(shard: records[shards.count].id, region: elsewhere)
            }
            return .init(shard: shards[Int(bucket.rawValue) % scenario.shardsInUse].id)
        }
        do {
            return try ShardMap(generation: 1, entries: entries, shards: records)
        } catch {
            preconditionFailure("the first map is wrong: \(error)")
        }
    }

    private func prepare() {
        for bucket in buckets {
            shard(etcd.map[bucket].shard).owners[bucket] = OwnerRow(state: .own, epoch: .first)
            highest[bucket] = .first
            lastOwner[bucket] = shard(etcd.map[bucket].shard)
        }
        for shard in shards {
            shard.ownersChanged = { [unowned self, unowned shard] bucket, before in
                ownersChanged(bucket, on: shard, from: before)
            }
            watchWrites(on: shard)
            shard.tell = { [unowned self, unowned shard] bucket in
                guard let row = shard.owners[bucket] else { return }
                tell("\(shard.id) \(bucket): \(row.state) \(row.epoch) \(row.attempt ?? "-")")
            }
            shard.logGrew = { [unowned self, unowned shard] in
                for peer in shards {
                    if peer.subscriptions.values.contains(where: { $0.publisher == shard.id }) {
                        pump(to: peer.id)
                    }
                }
            }
        }
        coordinators = (0..<scenario.coordinatorCount).map { SimulatedCoordinator(self, $0) }
        nodes = (0..<scenario.nodeCount).map { SimulatedNode(self, $0) }
        for coordinator in coordinators { coordinator.start() }
        for node in nodes { node.start() }
        if scenario.hasWorker { SimulatedWorker(self).start() }
        scenario.prepare(self)
        arrangeFaults()
    }

    func shard(_ id: ShardID) -> FakeShard { shards[places[id]!] }

    func party(of shard: ShardID) -> Party { .shard(places[shard]!) }

    var isQuiet: Bool { simulator.now >= Self.trouble }

    package func fail(_ what: String) {
        // The first ones say what happened, the rest follow from them.
        if wrong.count < 5 { wrong.append("at \(simulator.now) ms: \(what)") }
    }

    // MARK: Running

    /// Runs to the end; what is wrong is in `wrong`.
    package func run() {
        var at = 0
        while at < Self.end, wrong.isEmpty {
            at += 5_000
            guard simulator.run(until: at, bound: Self.stepBound) else {
                return fail("no end within \(Self.stepBound) steps")
            }
            if at > Self.trouble, isAtRest { break }
        }
        if wrong.isEmpty { judge() }
    }

    /// Nothing is left to be done, and nobody waits for an answer.
    private var isAtRest: Bool {
        guard etcd.wanted.steps.isEmpty, nodes.allSatisfy({ $0.isIdle }) else { return false }
        guard coordinators.contains(where: { $0.isAtRest }) else { return false }
        return leftovers.isEmpty
    }

    /// The state after everything: invariants 4, 6 and 9 of sharding.md, section 5.1.
    private func judge() {
        for (id, written) in etcd.journal.sorted(by: { $0.key < $1.key }) {
            let move = SimulatedCoordinator.read(written.entry, scenario.policy)
            finished[move.step, default: 0] += 1
            if !move.step.isFinal {
                fail("move \(id) ended at \(move.step): \(move.trouble ?? "-")")
            }
        }
        for leftover in leftovers { fail(leftover) }
        for bucket in buckets { judge(bucket) }
        if scenario.mustSucceed, errors > 0 { fail("\(errors) requests failed") }
    }

    private func judge(_ bucket: BucketID) {
        let owners = shards.filter { $0.owners[bucket]?.state == .own }
        guard owners.count == 1, let owner = owners.first else {
            return fail("bucket \(bucket) has \(owners.count) owners")
        }
        let entry = etcd.map[bucket]
        if entry.shard != owner.id || entry.epoch != owner.owners[bucket]?.epoch {
            fail(
                "the map has bucket \(bucket) on \(entry.shard) at \(entry.epoch), not \(owner.id)"
            )
        }
        let rows = owner.rows[bucket] ?? [:]
        let lost = (acked[bucket] ?? []).filter { rows[$0] == nil }.sorted()
        if !lost.isEmpty { fail("bucket \(bucket) lost \(lost.count) acknowledged writes") }
        for counter in SimulatedNode.counters {
            let requests = rows.filter { $0.key >= 0 && $0.value == counter }.count
            if rows[counter] ?? 0 != requests {
                fail("bucket \(bucket) counts \(rows[counter] ?? 0) for \(requests) writes")
            }
        }
    }

    /// Whatever should not be there when every move is over.
    package var leftovers: [String] {
        var found: [String] = []
        for shard in shards {
            found += shard.slots.keys.sorted().map { "slot \($0) on \(shard.id)" }
            found += shard.subscriptions.keys.sorted().map { "subscription \($0) on \(shard.id)" }
            for bucket in buckets {
                if let marker = shard.markers[bucket]?.first {
                    found.append("marker \(marker) on \(shard.id)")
                }
                let state = shard.owners[bucket]?.state
                if state == .incoming || state == .fenced || state == .released {
                    found.append("bucket \(bucket) \(state!) on \(shard.id)")
                }
                if state != .own, !(shard.rows[bucket] ?? [:]).isEmpty {
                    found.append("rows of bucket \(bucket) on \(shard.id)")
                }
            }
        }
        return found
    }

    // MARK: Checkers that look all the time

    /// Invariants 1, 2, 3 and 5: one owner at most, and epochs that grow; who takes a bucket over has all that its last owner
    /// accepted; what was released is never given up.
    private func ownersChanged(
        _ bucket: BucketID,
        on changed: FakeShard,
        from before: OwnerRow?
    ) {
        let now = changed.owners[bucket]
        if before?.state == .released, now?.state != .released, now?.state != .gone {
            fail(
                "bucket \(bucket) was released by \(changed.id) and is \(now?.state.rawValue ?? "-")"
            )
        }
        if now?.state == .own, let last = lastOwner[bucket], last !== changed {
            if last.rows[bucket] ?? [:] != changed.rows[bucket] ?? [:] {
                fail("\(changed.id) took bucket \(bucket) without all that \(last.id) had")
            }
        }
        if now?.state == .own { lastOwner[bucket] = changed }
        var owner: (id: ShardID, epoch: Epoch)?
        for shard in shards {
            guard let row = shard.owners[bucket], row.state == .own else { continue }
            if let owner { fail("bucket \(bucket) is owned by \(owner.id) and \(shard.id)") }
            owner = (shard.id, row.epoch)
        }
        if let owner {
            if owner.epoch < highest[bucket]! {
                fail("bucket \(bucket) went from epoch \(highest[bucket]!) to \(owner.epoch)")
            }
            highest[bucket] = owner.epoch
            if let since = pausedSince.removeValue(forKey: bucket) {
                longestPause = max(longestPause, simulator.now - since)
            }
        } else if pausedSince[bucket] == nil {
            pausedSince[bucket] = simulator.now
        }
    }

    /// Invariants 12 to 15: whoever repeats a request, a user's row goes to the owner alone, and a stream's never to it; a
    /// move's lock keeps nobody from another bucket; clocks that are hours apart change no order.
    private func watchWrites(on shard: FakeShard) {
        // Drawn apart, so that the rest of a run is the same as without.
        var random = SeededGenerator(seed: simulator.seed ^ UInt64(places[shard.id]! + 1) << 32)
        let skew = Int.random(in: -Self.clockSkew...Self.clockSkew, using: &random)
        shard.wallClock = { [unowned self] in max(0, Self.clockSkew + simulator.now + skew) }
        shard.userWrites = { [unowned self, unowned shard] bucket, id in
            if shard.owners[bucket]?.state != .own {
                fail("a user wrote bucket \(bucket) on \(shard.id), which does not own it")
            }
            if id <= newestID[bucket] ?? -1 {
                fail("bucket \(bucket) got id \(id) on \(shard.id) after \(newestID[bucket]!)")
            }
            newestID[bucket] = id
        }
        shard.streamWrites = { [unowned self, unowned shard] bucket in
            let state = shard.owners[bucket]?.state
            if state == .own || state == .fenced {
                fail("a stream wrote bucket \(bucket) on \(shard.id), which owns it")
            }
        }
        shard.writerWaits = { [unowned self, unowned shard] bucket, move in
            if !move.buckets.contains(bucket) {
                fail("move \(move.id) locks bucket \(bucket) on \(shard.id), which stays")
            }
        }
    }

    func isAsked(_ request: Int, of bucket: BucketID) {
        asked[bucket, default: []].insert(request)
    }

    func isAcknowledged(_ request: Int, of bucket: BucketID, counter: Int) {
        acknowledged += 1
        acked[bucket, default: []].insert(request)
        floors[bucket, default: [:]][counter, default: 0] += 1
    }

    // MARK: What drivers need

    /// Whether a coordinator still waits for that work.
    func isWanted(_ spec: MoveSpec, _ work: MoveWork) -> Bool {
        coordinators.contains { $0.isUp && $0.isDoing(work, of: spec.id) }
    }

    func publish(_ buckets: [BucketID], _ owner: ShardID, _ epochs: [Epoch]) {
        if flaw == .publishesOlder {
            for (bucket, epoch) in zip(buckets, epochs) {
                etcd.map[bucket].shard = owner
                etcd.map[bucket].epoch = epoch
            }
        } else if let map = etcd.map.publishing(buckets, owner: owner, epochs: epochs) {
            etcd.map = map
        }
    }

    /// Waits, inside the shard, for the writers under way; ends those that take too long; then does it.
    func holdLocks(
        of shard: FakeShard,
        _ spec: MoveSpec,
        life: Int,
        until deadline: Int,
        then body: @escaping () -> Void
    ) {
        guard shard.life == life else { return }
        let moving = Set(spec.buckets)
        let isHeld = shard.writers.contains { moving.contains($0.bucket) }
        if isHeld, simulator.now < deadline, flaw != .fenceIgnoresWriters {
            simulator.step(after: 5) { [self] in
                holdLocks(of: shard, spec, life: life, until: deadline, then: body)
            }
            return
        }
        if flaw != .fenceIgnoresWriters {
            shard.writers = shard.writers.filter { !moving.contains($0.bucket) }
        }
        body()
        for (bucket, var holders) in shard.locking {
            guard let mine = holders.firstIndex(of: spec) else { continue }
            holders.remove(at: mine)
            shard.locking[bucket] = holders.isEmpty ? nil : holders
        }
    }

    // MARK: Streams

    /// Has the subscriptions of a shard take what there is, soon.
    func pump(to id: ShardID) {
        let shard = shard(id)
        guard !pumping.contains(id) else { return }
        pumping.insert(id)
        simulator.step(within: 2...25) { [self] in
            pumping.remove(id)
            var isStuck = false
            for name in shard.subscriptions.keys.sorted() {
                if !take(name, on: shard) { isStuck = true }
            }
            if isStuck { simulator.step(within: 100...500) { [self] in pump(to: id) } }
        }
    }

    private var pumping: Set<ShardID> = []

    /// False when there is more to take than could be taken.
    private func take(_ name: String, on shard: FakeShard) -> Bool {
        guard let subscription = shard.subscriptions[name] else { return true }
        let publisher = self.shard(subscription.publisher)
        guard shard.isUp, publisher.isUp,
            !network.isCut(party(of: shard.id), party(of: publisher.id))
        else { return false }
        guard var slot = publisher.slots[name] else { return true }
        defer { if publisher.slots[name] != nil { publisher.slots[name] = slot } }
        while slot.position < publisher.log.count {
            let changes = publisher.log[slot.position].filter { slot.buckets.contains($0.bucket) }
            guard shard.apply(changes) else { return false }
            slot.position += 1
        }
        return true
    }
}

extension FakeShard {
    /// Nothing that the slot should give is still to come.
    func hasDelivered(_ slot: Slot) -> Bool {
        log[slot.position...].allSatisfy { changes in
            !changes.contains { slot.buckets.contains($0.bucket) }
        }
    }

    func digest(_ spec: MoveSpec) -> String {
        var hasher = 0 as UInt64
        for bucket in spec.buckets {
            for (key, value) in rows[bucket] ?? [:] {
                var state = UInt64(bitPattern: Int64(key)) &* 0x9E37_79B9_7F4A_7C15
                state ^= UInt64(bitPattern: Int64(value)) &* 0xBF58_476D_1CE4_E5B9
                state ^= UInt64(bucket.rawValue) << 48
                hasher &+= (state ^ (state >> 29)) &* 0x94D0_49BB_1331_11EB
            }
        }
        return String(hasher, radix: 16)
    }
}
