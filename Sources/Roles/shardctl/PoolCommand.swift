import ArgumentParser
import Coordination
import Etcd
import JSON
import Memcache
import Sharding

/// Shows and changes which memcached nodes the cache pools have.
struct PoolCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pool",
        abstract: "Shows the cache pools, and lets their nodes come and go while they are used.",
        discussion: """
            A change is announced, the new nodes are filled from the old ones while both are deleted from, then
            the old ones are left. A command that is stopped half way leaves a pool that works; `finish` goes on.

            Example, a fifth node for the object pool:
              shardctl pool init object 10.0.0.1:11211 10.0.0.2:11211 10.0.0.3:11211 10.0.0.4:11211
              shardctl pool add object 10.0.0.5:11211
            """,
        subcommands: [
            PoolList.self, PoolInit.self, PoolAdd.self, PoolRemove.self, PoolReplace.self,
            PoolLose.self, PoolFinish.self, PoolAbandon.self,
        ],
        defaultSubcommand: PoolList.self
    )
}

/// A pool as an operator names it.
extension CachePool: ExpressibleByArgument {}

struct PoolArgument: ParsableArguments {
    @Argument(help: "feed, object, session or gutter.")
    var pool: CachePool
}

struct WarmingOptions: ParsableArguments {
    @Option(
        name: .customLong("warm"),
        help: ArgumentHelp(
            """
            Seconds for which new nodes are filled from old ones: as long as values live; 0 for not at all, \
            which is right for sessions and for the gutter.
            """,
            valueName: "seconds"
        )
    )
    var seconds: Int?

    @Flag(help: "Announce the change only; shardctl pool finish does the rest.")
    var announceOnly = false

    /// Nothing in the object and feed pools lives longer than a minute; what a session's state may last is
    /// counted on to the second, so it is never copied, nor is what lies in the gutter.
    func warming(of pool: CachePool) throws -> Duration? {
        let isCopied = pool == .object || pool == .feed
        let seconds = seconds ?? (isCopied ? 60 : 0)
        guard (0...86_400).contains(seconds) else {
            throw Failure(.usage, "--warm takes 0 to 86400 seconds")
        }
        guard isCopied || seconds == 0 else {
            throw Failure(.usage, "\(pool.rawValue) is not warmed: sessions must end in time")
        }
        return seconds == 0 ? nil : .seconds(seconds)
    }
}

/// An address in an operator's words.
private func node(_ text: String) throws -> CacheNode {
    guard let node = CacheNode(text) else {
        throw Failure(.usage, "'\(text)' is not HOST:PORT")
    }
    return node
}

// MARK: Commands

struct PoolList: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Shows each pool's map, and what its nodes say."
    )

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run(on cluster: Cluster) async throws {
        let stored = try await cluster.withEtcd { etcd in
            try await PoolStore(etcd: etcd).all { _ in }
        }
        let pools = CachePool.allCases.compactMap { pool in
            stored[pool.rawValue].map { (pool: pool, map: $0) }
        }
        let rows = pools.flatMap { pool, map in
            map.nodes.map { node in
                [
                    pool.rawValue, "\(map.generation)", map.phase.rawValue, "\(node)",
                    "\(map.counts[node] ?? 0)", Self.stamp(of: node, in: pool),
                ]
            }
        }
        output.print(
            rows.isEmpty
                ? "no pool has a stored map; nodes use those of their settings"
                : table(["POOL", "GENERATION", "PHASE", "NODE", "SLOTS", "SAYS"], rows)
        ) { json in
            json.key("pools")
            json.array { json in
                for (pool, map) in pools { map.write(to: &json, as: pool) }
            }
        }
    }

    private static func stamp(of node: CacheNode, in pool: CachePool) -> String {
        do {
            let stamp = try PoolNodeAccess(node, in: pool).stamp()
            return stamp.map { "\($0.generation)" } ?? "nothing yet"
        } catch {
            return "does not answer"
        }
    }
}

struct PoolInit: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "init",
        abstract: "Stores a pool's first map: the one that its nodes draw from these addresses.",
        discussion: """
            Where etcd has lost the map of a pool that was changed before, --restore goes on without it: the slots
            are drawn anew, so the nodes are emptied, and clients with the lost map are kept off.
            """
    )

    @OptionGroup var pool: PoolArgument
    @Argument(help: "The addresses as in the nodes' settings (cache.feed and so on).")
    var nodes: [String]
    @Flag(help: "Empty the nodes: etcd has lost the map that they were used with.")
    var restore = false
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run(on cluster: Cluster) async throws {
        let nodes = try nodes.map(node)
        guard !nodes.isEmpty else { throw Failure(.usage, "a pool has at least one node") }
        let pool = pool.pool
        let stored = try await cluster.withEtcd {
            try await PoolStore(etcd: $0).load(pool.rawValue)
        }
        if let stored {
            guard stored.map.nodes == Set(nodes).sorted() else {
                throw Failure(.conflict, "\(pool) has a map already, of other nodes")
            }
            return report(stored.map)
        }
        // Above any that a client may have on its disk.
        let first = PoolMap(nodes: nodes, generation: restore ? Timestamp.now.seconds : 0)
        if restore {
            try empty(first, in: pool)
        } else {
            try refuseUsed(first.nodes, in: pool)
        }
        try await cluster.withEtcd { etcd in
            guard try await PoolStore(etcd: etcd).save(first, of: pool.rawValue, replacing: nil)
            else {
                throw Failure(.conflict, "\(pool) was given a map just now; see shardctl pool list")
            }
        }
        report(first)
    }

    /// Before the map is stored, so that nobody reads by the new map what was written by the old one.
    private func empty(_ map: PoolMap, in pool: CachePool) throws {
        for node in map.nodes {
            do {
                try PoolNodeAccess(node, in: pool).empty(at: map.generation)
            } catch {
                throw Failure(.unavailable, "\(error); start it, and run this again")
            }
        }
    }

    private func refuseUsed(_ nodes: [CacheNode], in pool: CachePool) throws {
        for node in nodes {
            // One that does not answer is asked by the clients, which it refuses then.
            guard let stamp = try? PoolNodeAccess(node, in: pool).stamp(), stamp.generation > 0
            else { continue }
            throw Failure(
                .refused,
                "\(node) was used with a map of generation \(stamp.generation), which etcd has lost: "
                    + "shardctl pool init --restore empties the nodes and begins anew"
            )
        }
    }

    private func report(_ map: PoolMap) {
        output.print("\(pool.pool): \(map.nodes.count) nodes") { json in
            map.writeFields(to: &json, as: pool.pool)
        }
    }
}

struct PoolAdd: PoolChanging {
    static let configuration = CommandConfiguration(
        commandName: "add",
        abstract: "Gives the pool one node more, which takes its share of the slots."
    )

    @OptionGroup var pool: PoolArgument
    @Argument(help: "The new node, HOST:PORT.")
    var new: String
    @OptionGroup var warming: WarmingOptions
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func reach() throws -> [CacheNode] { [try node(new)] }
    func change(_ map: PoolMap) throws -> PoolMap { try map.adding(node(new)) }
}

struct PoolRemove: PoolChanging {
    static let configuration = CommandConfiguration(
        commandName: "remove",
        abstract: "Empties a node; when this ends it may be stopped."
    )

    @OptionGroup var pool: PoolArgument
    @Argument(help: "The node, HOST:PORT.")
    var old: String
    @OptionGroup var warming: WarmingOptions
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func change(_ map: PoolMap) throws -> PoolMap { try map.removing(node(old)) }
}

struct PoolReplace: PoolChanging {
    static let configuration = CommandConfiguration(
        commandName: "replace",
        abstract: "Puts a new node in the place of one that still answers; see lose for a dead one."
    )

    @OptionGroup var pool: PoolArgument
    @Argument(help: "The node that leaves, HOST:PORT.")
    var old: String
    @Argument(help: "The node that comes, HOST:PORT.")
    var new: String
    @OptionGroup var warming: WarmingOptions
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func reach() throws -> [CacheNode] { [try node(new)] }
    func change(_ map: PoolMap) throws -> PoolMap {
        try map.replacing(node(old), with: node(new))
    }
}

struct PoolFinish: PoolChanging {
    static let configuration = CommandConfiguration(
        commandName: "finish",
        abstract: "Goes on with a change that was stopped half way, from the phase where it is."
    )

    @OptionGroup var pool: PoolArgument
    @OptionGroup var warming: WarmingOptions
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func change(_ map: PoolMap) throws -> PoolMap { map }
}

struct PoolLose: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "lose",
        abstract: "Does without a node whose process has ended for good, at any phase of a change.",
        discussion: """
            Its slots go to --replacement or to the others, empty. A node that answers is refused: what clients with
            an old map delete there would be read elsewhere.
            """
    )

    @OptionGroup var pool: PoolArgument
    @Argument(help: "The dead node, HOST:PORT.")
    var dead: String
    @Option(help: ArgumentHelp("A new node in its place.", valueName: "host:port"))
    var replacement: String?
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run(on cluster: Cluster) async throws {
        let dead = try node(dead)
        let new = try replacement.map(node)
        let pool = pool.pool
        if (try? PoolNodeAccess(dead, in: pool).stamp()) != nil {
            // An error is what is expected here.
            throw Failure(.refused, "\(dead) answers; use remove or replace")
        }
        if let new { try requireAnswer(of: new, in: pool) }
        let map = try await cluster.changePool(pool) { try $0.losing(dead, replacement: new) }
        output.print("\(pool): generation \(map.generation), \(map.phase.rawValue)") { json in
            map.writeFields(to: &json, as: pool)
        }
    }
}

struct PoolAbandon: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "abandon",
        abstract: "Leads a change back to the nodes of before."
    )

    @OptionGroup var pool: PoolArgument
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run(on cluster: Cluster) async throws {
        let pool = pool.pool
        var map = try await cluster.changePool(pool) { map in
            map.phase == .announced ? map : map.abandoning()
        }
        if map.phase == .announced {
            output.progress("\(pool): announced again, generation \(map.generation)")
            try await Task.sleep(for: PoolChange.grace)
            try stamp(map.stampsDue, map.generation, in: pool)
            let generation = map.generation
            map = try await cluster.changePool(pool) { now in
                guard now.generation == generation else {
                    throw Failure(.conflict, "\(pool) was changed meanwhile")
                }
                return now.abandoning()
            }
        }
        output.print("\(pool): generation \(map.generation), \(map.phase.rawValue)") { json in
            map.writeFields(to: &json, as: pool)
        }
    }
}

// MARK: Changing

/// A command that changes a pool and then drives it through its phases.
protocol PoolChanging: ClusterCommand {
    var pool: PoolArgument { get }
    var warming: WarmingOptions { get }

    /// Nodes that must answer before anything is changed.
    func reach() throws -> [CacheNode]
    func change(_ map: PoolMap) throws -> PoolMap
}

extension PoolChanging {
    func reach() throws -> [CacheNode] { [] }

    func run(on cluster: Cluster) async throws {
        let pool = pool.pool
        let warming = try warming.warming(of: pool)
        for node in try reach() { try requireAnswer(of: node, in: pool) }
        let map = try await cluster.changePool(pool) { try change($0) }
        report(map)
        var now = map
        if !self.warming.announceOnly { now = try await drive(map, warming, on: cluster) }
        output.print("\(pool): generation \(now.generation), \(now.phase.rawValue)") { json in
            now.writeFields(to: &json, as: pool)
        }
    }

    private func drive(
        _ map: PoolMap,
        _ warming: Duration?,
        on cluster: Cluster
    ) async throws -> PoolMap {
        let pool = pool.pool
        var change = PoolChange(map, warming: warming)
        var effect = change.handle(.started)
        while effect != .finish {
            switch effect {
            case .wait(let time):
                try await Task.sleep(for: time)
                effect = change.handle(.waited)
            case .stamp(let nodes, let generation):
                try stamp(nodes, generation, in: pool)
                effect = change.handle(.stamped)
            case .publish(let next):
                _ = try await cluster.changePool(pool) { now in
                    guard now.generation == next.generation - 1 else {
                        throw Failure(.conflict, "\(pool) was changed meanwhile; see pool list")
                    }
                    return next
                }
                report(next)
                effect = change.handle(.published)
            case .finish: break
            }
        }
        return change.map
    }

    private func report(_ map: PoolMap) {
        let moving = map.moving.count
        output.progress(
            "\(pool.pool): \(map.phase.rawValue)"
                + (moving > 0 ? ", \(moving) of \(PoolMap.slotCount) slots on their way" : "")
        )
    }
}

private func requireAnswer(of node: CacheNode, in pool: CachePool) throws {
    do {
        _ = try PoolNodeAccess(node, in: pool).stamp()
    } catch {
        throw Failure(.unavailable, "\(error)")
    }
}

private func stamp(_ nodes: [CacheNode], _ generation: Int64, in pool: CachePool) throws {
    for node in nodes {
        do {
            try PoolNodeAccess(node, in: pool).raiseStamp(to: generation)
        } catch {
            throw Failure(
                .unavailable,
                "\(error); start it and run shardctl pool finish, or see shardctl pool lose"
            )
        }
    }
}

extension Cluster {
    /// Changes a pool's map by compare-and-set; what stays the same is not stored again.
    func changePool(
        _ pool: CachePool,
        _ change: @escaping (PoolMap) throws -> PoolMap
    ) async throws -> PoolMap {
        // Called once, on the loop that is made for it while this waits.
        nonisolated(unsafe) let change = change
        return try await withEtcd { etcd in
            let store = PoolStore(etcd: etcd)
            guard let stored = try await store.load(pool.rawValue) else {
                throw Failure(.conflict, "\(pool) has no stored map yet; run shardctl pool init")
            }
            let map: PoolMap
            do {
                map = try change(stored.map)
            } catch let error as PoolMapError {
                throw Failure(.refused, "\(pool): \(error)")
            }
            guard map != stored.map else { return map }
            guard try await store.save(map, of: pool.rawValue, replacing: stored) else {
                throw Failure(.conflict, "\(pool) was changed just now; see shardctl pool list")
            }
            return map
        }
    }
}

extension PoolMap {
    func write(to json: inout JSONWriter, as pool: CachePool) {
        json.object { writeFields(to: &$0, as: pool) }
    }

    func writeFields(to json: inout JSONWriter, as pool: CachePool) {
        json.field("pool", pool.rawValue)
        json.field("generation", generation)
        json.field("phase", phase.rawValue)
        json.field("moving", moving.count)
        json.key("nodes")
        json.array { json in
            let counts = counts
            for node in nodes {
                json.object { json in
                    json.field("node", node.description)
                    json.field("slots", counts[node] ?? 0)
                }
            }
        }
    }
}
