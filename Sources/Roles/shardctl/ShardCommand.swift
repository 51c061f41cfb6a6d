import Administration
import ArgumentParser
import Coordination
import Etcd
import JSON
import Journals
import Sharding

/// Shows and changes the records of shards.
struct ShardCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shard",
        abstract: "Shows the shards that the map knows, adds some, and takes some out.",
        subcommands: [
            ShardList.self, ShardAdd.self, ShardDrain.self, ShardSetWeight.self, ShardRemove.self,
        ],
        defaultSubcommand: ShardList.self
    )
}

struct ShardList: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Lists each shard with its address, for scripts: one line a shard."
    )

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run(on cluster: Cluster) async throws {
        let map = try await cluster.map()
        let lines = map.shards.map { "\($0.id) \($0.addresses) \($0.database)" }
        output.print(lines.joined(separator: "\n")) { json in
            json.key("shards")
            json.array { json in
                for shard in map.shards { shard.write(to: &json, in: map) }
            }
        }
    }
}

extension ShardMap {
    /// The shard of that name, or the failure that tells which there are.
    func required(_ name: String) throws -> ShardRecord {
        guard let id = ShardID(name), let shard = shard(id) else {
            let known = shards.map(\.id.name).joined(separator: ", ")
            throw Failure(.usage, "the map has no shard '\(name)'; it has \(known)")
        }
        return shard
    }
}

extension Cluster {
    /// Changes the map by compare-and-set, again from the start where somebody else was faster; gives what is
    /// stored then. `change` says false where there is nothing to change.
    func changeMap(
        _ change: @escaping @Sendable (inout ShardMap) throws -> Bool
    ) async throws -> ShardMap {
        for _ in 1...Self.mapTries {
            let result: ShardMap? = try await withMapStore { store in
                guard let stored = try await store.load() else {
                    throw Failure(.conflict, "etcd holds no map yet; run shardctl init first")
                }
                var map = stored.map
                guard try change(&map) else { return stored.map }
                map.generation = stored.map.generation + 1
                return try await store.save(map, replacing: stored) ? map : nil
            }
            if let result { return result }
        }
        throw Failure(.conflict, "the map changes too fast; run this again")
    }

    private static let mapTries = 10
}

struct ShardSetWeight: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "set-weight",
        abstract: "Says how much a shard shall carry beside the others; plan and apply follow it."
    )

    @Argument(help: "The shard, such as s1.")
    var shard: String

    @Argument(help: "Its share relative to the other shards' weights; 1 and above.")
    var weight: Int

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run(on cluster: Cluster) async throws {
        guard (1...ShardAdd.heaviest).contains(weight) else {
            throw Failure(
                .usage,
                "a weight is 1 to \(ShardAdd.heaviest); to empty a shard: shardctl shard drain \(shard)"
            )
        }
        let name = shard
        let weight = weight
        let map = try await cluster.changeMap { map in
            var record = try map.required(name)
            guard record.weight != weight else { return false }
            record.weight = weight
            map.put(record)
            return true
        }
        output.print("\(name): weight \(weight), generation \(map.generation)") { json in
            json.field("shard", name)
            json.field("weight", weight)
            json.field("generation", map.generation)
        }
    }
}

struct ShardRemove: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove",
        abstract: "Takes a shard without buckets out of the map; its server is left as it is."
    )

    @Argument(help: "The shard, such as s1.")
    var shard: String

    @Flag(name: .shortAndLong, help: "Do not ask.")
    var yes = false

    @Option(help: "Seconds to wait until the coordinator is done with the shard.")
    var timeout = 600

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run(on cluster: Cluster) async throws {
        let map = try await cluster.map()
        let record = try map.required(shard)
        let held = map.buckets(of: record.id).count
        guard held == 0 else {
            throw Failure(
                .conflict,
                "\(shard) still has \(held) buckets: shardctl shard drain \(shard), "
                    + "then shardctl apply --wait"
            )
        }
        guard map.shards.count > 1 else {
            throw Failure(.conflict, "\(shard) is the only shard of the cluster")
        }
        try refuseOwner(record, try cluster.secrets())
        try refuseWhileMoving(record.id, try await cluster.controlState())
        try confirm("take \(shard) (\(record.addresses)) out of the map?", yes: yes, output)
        let id = record.id
        try await awaitEnd(of: id, cluster)
        let changed = try await cluster.changeMap { map in
            guard map.shard(id) != nil else { return false }
            guard map.buckets(of: id).isEmpty else {
                throw Failure(.conflict, "\(id) was given buckets meanwhile")
            }
            map.remove(id)
            return true
        }
        _ = try await cluster.ask { intent in
            intent.drains.remove(id)
            intent.removals.remove(id)
        }
        output.print("\(id): removed, generation \(changed.generation)") { json in
            json.field("shard", id.name)
            json.field("generation", changed.generation)
        }
    }

    private func refuseWhileMoving(_ id: ShardID, _ state: ControlState) throws {
        let using =
            (state.active.filter { $0.step < .published }.map(\.spec)
            + state.waiting.map(\.spec)).first { $0.source == id || $0.target == id }
        guard let using else { return }
        throw Failure(
            .conflict,
            "move \(using.id) still needs \(id): wait until it is over (shardctl status --watch)"
        )
    }

    /// Has the coordinator end what it keeps of the shard: ways back, and rows that are to be deleted.
    private func awaitEnd(of id: ShardID, _ cluster: Cluster) async throws {
        var state = try await cluster.ask { _ = $0.removals.insert(id) }
        let deadline = ContinuousClock.now + .seconds(timeout)
        while let move = state.active.first(where: { $0.spec.source == id || $0.spec.target == id })
        {
            guard state.leader != nil else {
                throw Failure(
                    .unavailable,
                    "move \(move.spec.id) is not over, and no coordinator leads: start one"
                )
            }
            guard ContinuousClock.now < deadline else {
                throw Failure(
                    .unavailable,
                    "move \(move.spec.id) is still \(move.step.rawValue); run this again later"
                )
            }
            try await Task.sleep(for: .milliseconds(500))
            state = try await cluster.controlState()
        }
    }

    /// What the map says may be out of date; the shard itself knows.
    private func refuseOwner(_ record: ShardRecord, _ secrets: ShardSecrets) throws {
        let owned = try ownedCount(ShardSetup(shard: record, secrets: secrets))
        guard owned == 0 else {
            throw Failure(
                .conflict,
                "\(record.id) owns \(owned) buckets that the map has elsewhere: see shardctl doctor"
            )
        }
    }

    /// A shard that does not answer owns what the map says, which is nothing; one that answers is asked.
    private func ownedCount(_ setup: ShardSetup) throws -> Int {
        let ownership: ShardOwnership?
        do {
            ownership = try setup.ownership()
        } catch {
            guard error.kind == .unreachable else { throw error }
            return 0
        }
        return ownership?.owned.count ?? 0
    }
}
