import ArgumentParser
import Coordination
import Journals
import JSON
import Sharding

/// Says that what was asked for is written down; whether anybody reads it is worth a word.
private func acknowledge(_ line: String, _ state: ControlState, _ output: OutputOptions) {
    let nobody = state.leader == nil ? "; no coordinator leads at present" : ""
    output.print(line + nobody) { json in
        json.field("result", line)
        json.field("leader", state.leader?.name)
        json.field("paused", state.intent.paused)
    }
}

struct PauseCommand: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause",
        abstract: "Starts no new move; those under way go on to their end."
    )

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run(on cluster: Cluster) async throws {
        let state = try await cluster.ask { $0.paused = true }
        let running = state.active.filter { !$0.isDone }.count
        acknowledge("paused; \(running) moves are still under way", state, output)
    }
}

struct ResumeCommand: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume",
        abstract: "Takes a pause back."
    )

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run(on cluster: Cluster) async throws {
        let state = try await cluster.ask { $0.paused = false }
        acknowledge("resumed; \(state.pendingCount) moves to go", state, output)
    }
}

struct AbortCommand: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "abort",
        abstract: "Takes moves back that are not released yet, and drops the rest of the plan.",
        discussion: """
            Without a name every move that can be is taken back, and no other move of the plan starts. With \
            names only those moves are taken back. A move that has been released goes on to its end: \
            shardctl rollback brings its buckets back.
            """
    )

    @Argument(help: "Moves, such as m12.")
    var moves: [String] = []

    @Flag(name: .shortAndLong, help: "Do not ask.")
    var yes = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run(on cluster: Cluster) async throws {
        let named = Set(try moves.map(moveID))
        let before = try await cluster.controlState()
        for id in named.sorted() { try check(id, before) }
        let asked = named.isEmpty ? Set(before.active.map(\.spec.id)) : named
        let takenBack = before.active.filter {
            asked.contains($0.spec.id) && !$0.step.isCommitted
        }
        let dropped = named.isEmpty ? before.waiting.count : 0
        try confirm(
            "take back \(takenBack.count) moves, with what they have copied, and drop \(dropped)?",
            yes: yes,
            output
        )
        let state = try await cluster.ask { intent in
            if named.isEmpty { intent.approved = nil }
            intent.aborts.formUnion(takenBack.map(\.spec.id))
        }
        acknowledge(
            "\(takenBack.count) moves are taken back, \(dropped) do not begin",
            state,
            output
        )
    }

    private func check(_ id: MoveID, _ state: ControlState) throws {
        guard let move = state.move(id) else {
            guard state.waiting.contains(where: { $0.spec.id == id }) else {
                throw Failure(.usage, "there is no move \(id); see shardctl status")
            }
            throw Failure(
                .conflict,
                "\(id) has not begun; shardctl abort without a name drops the rest of the plan"
            )
        }
        guard !move.step.isFinal else {
            throw Failure(.conflict, "\(id) is over: \(move.step.rawValue)")
        }
        guard !move.step.isCommitted else {
            throw Failure(.conflict, "\(id) was released and goes on; shardctl rollback \(id)")
        }
    }
}

struct RollbackCommand: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback",
        abstract: "Brings the buckets of a move back, while the old owner is kept up to date."
    )

    @Argument(help: "Moves, such as m12.")
    var moves: [String]

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run(on cluster: Cluster) async throws {
        let named = Set(try moves.map(moveID))
        let state = try await cluster.ask { state in
            for id in named.sorted() {
                guard let move = state.move(id) else {
                    throw Failure(.usage, "there is no move \(id); see shardctl status")
                }
                guard move.canRollBack else { throw refusal(of: move) }
            }
        } _: { intent in
            intent.rollbacks.formUnion(named)
        }
        acknowledge("\(named.count) moves are rolled back", state, output)
    }
}

private func refusal(of move: BucketMove) -> Failure {
    let id = move.spec.id
    let why =
        if move.handedTo != nil {
            "\(id) is being rolled back by \(move.handedTo!)"
        } else if move.step < .released {
            "\(id) is not released yet; shardctl abort \(id)"
        } else if move.step.isFinal {
            "the retention of \(id) is over; move its buckets back: shardctl pin, then shardctl apply"
        } else {
            "\(id) keeps no reverse stream (moves.retention_seconds of the coordinator), or none yet"
        }
    return Failure(.conflict, why)
}

struct PinCommand: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "pin",
        abstract: "Says on which shard buckets have to be; plan and apply follow it."
    )

    @Argument(help: "Buckets, 0 to 1023.")
    var buckets: [String]

    @Option(help: "The shard.")
    var to: String

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run(on cluster: Cluster) async throws {
        let wanted = try buckets.map(bucketID)
        let shard = try await cluster.map().required(to).id
        let state = try await cluster.ask { intent in
            for bucket in wanted {
                if let own = intent.isolated[bucket], own != shard {
                    throw Failure(.conflict, "bucket \(bucket) is isolated on \(own)")
                }
                intent.pins[bucket] = shard
            }
        }
        acknowledge("\(wanted.count) buckets pinned to \(shard)", state, output)
    }
}

struct UnpinCommand: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "unpin",
        abstract: "Takes pins back: plan and apply may move the buckets."
    )

    @Argument(help: "Buckets, 0 to 1023.")
    var buckets: [String] = []

    @Flag(help: "Every bucket that is pinned.")
    var all = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run(on cluster: Cluster) async throws {
        let wanted = try buckets.map(bucketID)
        guard all != !wanted.isEmpty else { throw Failure(.usage, "name buckets, or say --all") }
        let everything = all
        let state = try await cluster.ask { intent in
            if everything { intent.pins.removeAll() }
            for bucket in wanted { intent.pins[bucket] = nil }
        }
        acknowledge("\(state.intent.pins.count) buckets are pinned", state, output)
    }
}

struct ShardDrain: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "drain",
        abstract: "Says that a shard is to be empty; plan and apply follow it."
    )

    @Argument(help: "The shard, such as s1.")
    var shard: String

    @Flag(help: "Take it back: the shard gets its share again.")
    var undo = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run(on cluster: Cluster) async throws {
        let map = try await cluster.map()
        let id = try map.required(shard).id
        let undo = self.undo
        let state = try await cluster.ask { intent in
            if undo {
                intent.drains.remove(id)
            } else {
                guard map.shards.contains(where: { $0.id != id && !intent.drains.contains($0.id) })
                else { throw Failure(.conflict, "\(id) is the last shard that takes buckets") }
                intent.drains.insert(id)
            }
        }
        let held = map.buckets(of: id).count
        acknowledge(
            undo
                ? "\(id) takes buckets again"
                : "\(id) is to be empty; \(held) buckets to go: shardctl apply",
            state,
            output
        )
    }
}
