internal import Coordination
internal import Sharding
internal import Simulation

/// An app node: it has a map that may be old, writes and reads for its users, and follows refusals.
final class SimulatedNode {
    private unowned let world: MoveWorld
    private let number: Int
    private var party: Party { .node(number) }
    private var simulator: Simulator { world.simulator }
    private var map: ShardMap
    /// What refusals have said since the map came.
    private var hints: [BucketID: ShardMap.Entry] = [:]
    private var pausedUntil = 0
    private var pending = 0
    private var nextRequest: Int

    /// Rows with these keys count the requests that name them.
    static let counters = [-1, -2]

    /// For how long a request is held before its user sees an error.
    static let patience = 5_000

    init(_ world: MoveWorld, _ number: Int) {
        self.world = world
        self.number = number
        map = world.etcd.map
        nextRequest = number * 1_000_000
    }

    var isIdle: Bool { pending == 0 }

    func start() {
        refresh()
        ask()
    }

    func pause(for time: Int) { pausedUntil = max(pausedUntil, simulator.now + time) }

    private func later(_ delay: ClosedRange<Int>, _ body: @escaping () -> Void) {
        simulator.step(within: delay) { [self] in awake(body) }
    }

    private func awake(_ body: @escaping () -> Void) {
        guard simulator.now < pausedUntil else { return body() }
        simulator.step(after: pausedUntil - simulator.now) { [self] in awake(body) }
    }

    private func refresh() {
        later(800...3_000) { [self] in
            load()
            refresh()
        }
    }

    private func load() {
        world.network.call(from: party, to: .etcd) {
            [world] (answer: @escaping (ShardMap) -> Void) in
            if world.etcd.isUp { answer(world.etcd.map) }
        } answered: { [self] map in
            guard let map, map.generation > self.map.generation else { return }
            self.map = map
            hints = hints.filter { map[$0.key].epoch < $0.value.epoch }
        }
    }

    // MARK: Requests

    private func ask() {
        guard !world.isQuiet else { return }
        later(10...90) { [self] in
            let bucket = world.buckets.randomElement(using: &simulator.random)!
            let counter = Self.counters.randomElement(using: &simulator.random)!
            pending += 1
            if simulator.chance(0.6) {
                nextRequest += 1
                world.isAsked(nextRequest, of: bucket)
                write(nextRequest, bucket, counter, since: simulator.now)
            } else {
                let floor = world.floors[bucket]?[counter] ?? 0
                read(bucket, counter, atLeast: floor, since: simulator.now)
            }
            ask()
        }
    }

    private func entry(_ bucket: BucketID) -> ShardMap.Entry { hints[bucket] ?? map[bucket] }

    /// Again after a refusal or without an answer, unless the user has waited too long.
    private func again(_ since: Int, _ body: @escaping () -> Void) {
        guard simulator.now - since < Self.patience else {
            world.errors += 1
            pending -= 1
            return
        }
        later(5...60, body)
    }

    private func write(_ request: Int, _ bucket: BucketID, _ counter: Int, since: Int) {
        let entry = entry(bucket)
        let shard = world.shard(entry.shard)
        world.network.call(from: party, to: world.party(of: entry.shard)) {
            [world, number] (answer: @escaping (FakeShard.Answer) -> Void) in
            guard shard.isUp else { return answer(.lockWait) }
            let (writer, refusal) = shard.begin(bucket, at: entry.epoch)
            guard let writer else { return answer(refusal) }
            // The transaction stays open while the node talks to it, and longer when the node is paused.
            let isSlow = world.simulator.chance(world.network.faults.nodePause == nil ? 0 : 0.02)
            let time = isSlow ? 200...3_000 : 1...25
            world.simulator.step(within: time) {
                _ = number
                guard let done = shard.finish(writer, request: request, counter: counter) else {
                    return answer(.lockWait)
                }
                answer(done)
            }
        } answered: { [self] answer in
            awake { [self] in
                if case .done? = answer {
                    world.isAcknowledged(request, of: bucket, counter: counter)
                    pending -= 1
                    return
                }
                follow(answer, bucket, entry)
                again(since) { [self] in write(request, bucket, counter, since: since) }
            }
        }
    }

    private func read(_ bucket: BucketID, _ counter: Int, atLeast floor: Int, since: Int) {
        let entry = entry(bucket)
        let shard = world.shard(entry.shard)
        world.network.call(from: party, to: world.party(of: entry.shard)) {
            (answer: @escaping (FakeShard.Answer) -> Void) in
            guard shard.isUp else { return answer(.lockWait) }
            answer(shard.read(bucket, at: entry.epoch, counter: counter))
        } answered: { [self] answer in
            awake { [self] in
                if case .done(let value)? = answer {
                    if value < floor {
                        world.fail(
                            "a read of bucket \(bucket) shows \(value), \(floor) are certain"
                        )
                    }
                    pending -= 1
                    return
                }
                follow(answer, bucket, entry)
                again(since) { [self] in
                    read(bucket, counter, atLeast: floor, since: since)
                }
            }
        }
    }

    /// Learns from a refusal who is asked next.
    private func follow(
        _ answer: FakeShard.Answer?,
        _ bucket: BucketID,
        _ asked: ShardMap.Entry
    ) {
        guard case .refused(let row)? = answer else { return }
        guard entry(bucket) == asked else { return }
        guard let row else { return load() }
        var next = asked
        switch row.state {
        case .own: next.epoch = row.epoch
        case .released, .gone:
            guard let owner = row.next else { return load() }
            next.shard = owner
            next.epoch = row.epoch.next
        case .fenced: return
        case .incoming:
            guard let owner = row.next, row.epoch.rawValue > 1 else { return load() }
            // The present owner is one behind what is awaited here.
            next.shard = owner
            next.epoch = Epoch(rawValue: row.epoch.rawValue - 1)
        }
        // Only what is newer is news; two shards that point at one another must not be asked in turn for ever.
        guard next.epoch > asked.epoch else { return load() }
        hints[bucket] = next
    }
}
