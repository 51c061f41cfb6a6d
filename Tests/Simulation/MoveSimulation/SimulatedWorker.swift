internal import Coordination
internal import Sharding
internal import Simulation

/// A worker that looks after buckets which nobody moves on, with the owner rows alone.
final class SimulatedWorker {
    private unowned let world: MoveWorld
    /// Since when it has seen each attempt on each shard.
    private var seen: [String: Int] = [:]

    init(_ world: MoveWorld) { self.world = world }

    func start() {
        world.simulator.step(within: 400...900) { [self] in
            for shard in world.shards where shard.isUp { look(at: shard) }
            start()
        }
    }

    private func look(at shard: FakeShard) {
        guard !world.network.isCut(.worker, world.party(of: shard.id)) else { return }
        var groups: [String: [BucketID]] = [:]
        for bucket in world.buckets {
            guard let row = shard.owners[bucket], let attempt = row.attempt,
                row.state == .fenced || row.state == .released
            else { continue }
            groups[attempt, default: []].append(bucket)
        }
        let prefix = "\(shard.id) "
        seen = seen.filter {
            !$0.key.hasPrefix(prefix) || groups[String($0.key.dropFirst(prefix.count))] != nil
        }
        for (attempt, buckets) in groups.sorted(by: { $0.key < $1.key }) {
            let since = seen[prefix + attempt] ?? world.simulator.now
            seen[prefix + attempt] = since
            let rows = buckets.map { shard.owners[$0]! }
            act(
                StrandedMove.action(
                    for: rows,
                    seenFor: .milliseconds(world.simulator.now - since)
                ),
                buckets,
                on: shard
            )
        }
    }

    private func act(_ action: StrandedMove.Action, _ buckets: [BucketID], on shard: FakeShard) {
        switch action {
        case .wait: break
        case .giveUp(let attempt, let epochs):
            // What it saw may be old by the time it acts; the compare-and-set decides.
            world.simulator.step(within: 0...50) { [world] in
                guard shard.isUp else { return }
                _ = try? shard.giveUp(buckets, attempt, epochs, flaw: world.flaw)
            }
        case .activate(let attempt, let epochs, let target):
            world.simulator.step(within: 0...50) { [world] in
                let other = world.shard(target)
                guard other.isUp,
                    let spec = MoveSpec(
                        id: attempt.move,
                        source: shard.id,
                        target: target,
                        buckets: buckets
                    )
                else { return }
                // A refusal says that the coordinator was first.
                _ = try? other.activate(spec, attempt, epochs)
            }
        }
    }
}
