import Administration
import ArgumentParser
import Coordination
import Glibc
import JSON
import Journals
import Settings
import Sharding

/// Shows what `apply` would do, and does nothing.
struct PlanCommand: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Shows the moves that bring every shard to its share; apply does exactly these.",
        discussion: """
            Measures what each bucket weighs (its bytes; its reads and writes where the nodes have counted enough of \
            them), and plans the fewest bytes that bring every shard within 5 % of its share of each; drains, pins and \
            isolated buckets come first. The same cluster gives the same plan. With --json the output is a file for \
            apply --plan.
            """
    )

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run(on cluster: Cluster) async throws {
        let state = try await cluster.controlState()
        let draft = try await PlanDraft(cluster, intent: state.intent, output: output)
        let first = try await cluster.withEtcd {
            try await IntentStore(etcd: $0).numbers().value
        }
        let record = PlanRecord(draft.plan, from: first, createdAt: Timestamp.now.seconds)
        let objections = draft.objections(try cluster.secrets())
        output.print(draft.text(record, objections)) { json in
            draft.write(record, objections, to: &json)
        }
    }
}

extension PlanDraft {
    func text(_ record: PlanRecord, _ objections: [String]) -> String {
        guard !record.moves.isEmpty else {
            return "nothing to move: every shard is within 5 % of its share"
        }
        let moves = record.moves.map { move in
            [
                "\(move.spec.id)", "\(move.spec.source)", "\(move.spec.target)",
                "\(move.spec.buckets.count)", megabytes(move.bytes), move.reason.rawValue,
            ]
        }
        let loads = loads().map { [$0.shard.name, megabytes($0.before), megabytes($0.after)] }
        var lines = [
            table(["MOVE", "FROM", "TO", "BUCKETS", "BYTES", "WHY"], moves), "",
            table(["SHARD", "NOW", "AFTERWARDS"], loads), "",
            summary, weighed,
        ]
        for objection in objections { lines.append("apply would refuse: \(objection)") }
        return lines.joined(separator: "\n")
    }

    var summary: String {
        "\(plan.steps.count) moves, \(plan.bucketCount) buckets, \(megabytes(plan.bytes)); "
            + "about \(duration(expectedSeconds)); heaviest shard over the mean: "
            + "\(percent(plan.imbalanceBefore)) now, \(percent(plan.imbalanceAfter)) afterwards"
    }

    /// By what buckets were weighed: by how often they are used only where enough was counted.
    private var weighed: String {
        let used = [("reads", rates.countedReads), ("writes", rates.countedWrites)]
            .filter { $0.1 >= BucketRates.significant }.map { $0.0 }
        return "weighed by " + (["bytes"] + used).joined(separator: ", ")
    }

    func write(_ record: PlanRecord, _ objections: [String], to json: inout JSONWriter) {
        json.field("fingerprint", record.fingerprint)
        json.field("generation", map.generation)
        json.field("buckets", plan.bucketCount)
        json.field("bytes", plan.bytes)
        json.field("total_bytes", weights.reduce(0) { $0 + $1.bytes })
        json.field("expected_seconds", expectedSeconds)
        json.field("imbalance_before", plan.imbalanceBefore)
        json.field("imbalance_after", plan.imbalanceAfter)
        json.field("objections", objections)
        json.key("moves")
        json.array { json in
            for move in record.moves { json.object { PlanRecord.write(move, to: &$0) } }
        }
        json.key("shards")
        json.array { json in
            for load in loads() {
                json.object { json in
                    json.field("shard", load.shard.name)
                    json.field("bytes_before", load.before)
                    json.field("bytes_after", load.after)
                }
            }
        }
    }

    private func percent(_ ratio: Double) -> String {
        let tenths = Int((ratio * 1_000).rounded())
        return "\(tenths / 10).\(tenths % 10) %"
    }
}

/// Has a plan carried out by the coordinator.
struct ApplyCommand: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "apply",
        abstract: "Has the coordinator carry out the plan; users notice nothing.",
        discussion: """
            Without --plan it plans like shardctl plan. Everything is checked before anything is changed; two plans at \
            a time are refused. With --wait it ends when all buckets are where they belong: with status 1 if some \
            move was taken back.
            """
    )

    @Option(
        help: ArgumentHelp(
            "What shardctl plan --json printed: just these moves.",
            valueName: "file"
        )
    )
    var plan: String?

    @Flag(help: "Wait until the moves are done, and show how far they are.")
    var wait = false

    @Flag(name: .shortAndLong, help: "Do not ask on a terminal.")
    var yes = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run(on cluster: Cluster) async throws {
        let state = try await cluster.controlState()
        try state.refuseOldLeader()
        try refuseSecond(state)
        if wait, state.leader == nil {
            throw Failure(.unavailable, "no coordinator leads: start one, then run this again")
        }
        var draft = try await PlanDraft(cluster, intent: state.intent, output: output)
        if let file = plan { draft = PlanDraft(try Self.read(file, draft), like: draft) }
        guard !draft.plan.steps.isEmpty else {
            return output.print("nothing to move") { $0.field("moves", 0) }
        }
        let objections = draft.objections(try cluster.secrets())
        guard objections.isEmpty else {
            throw Failure(.refused, objections.joined(separator: "\n"))
        }

        if isatty(STDIN_FILENO) == 1, !output.json {
            output.progress(draft.summary)
            try confirm("carry it out?", yes: yes, output)
        }
        let record = try await approve(draft.plan, cluster)
        output.progress(draft.text(record, []))
        if wait { return try await MoveWatch(cluster, output).untilDone(record) }
        let nobody = state.leader == nil ? "; no coordinator leads at present" : ""
        output.print("agreed; shardctl status --watch shows how far it is\(nobody)") { json in
            json.field("fingerprint", record.fingerprint)
            json.field("moves", record.moves.count)
            json.field("leader", state.leader?.name)
        }
    }

    private func refuseSecond(_ state: ControlState) throws {
        guard state.pendingCount > 0 else { return }
        throw Failure(
            .conflict,
            "a plan is being carried out, \(state.pendingCount) moves to go: wait for it "
                + "(shardctl status --watch), or shardctl abort"
        )
    }

    /// Stores the plan with its numbers; whoever comes second is refused.
    private func approve(_ plan: Plan, _ cluster: Cluster) async throws -> PlanRecord {
        try await cluster.withEtcd { etcd in
            let store = IntentStore(etcd: etcd)
            let (old, intent) = (try await store.plan(), try await store.intent())
            let numbers = try await store.numbers()
            try refuseSecond(try await ControlState(etcd))
            let record = PlanRecord(plan, from: numbers.value, createdAt: Timestamp.now.seconds)
            guard
                try await store.approve(record, replacing: old, intent: intent, numbers: numbers)
            else {
                throw Failure(
                    .conflict,
                    "somebody else applied a plan just now; nothing was changed"
                )
            }
            return record
        }
    }

    /// The plan of a file, if the buckets still are where it takes them from.
    private static func read(_ path: String, _ draft: PlanDraft) throws -> Plan {
        let json: JSONValue
        do {
            json = try JSONReader.parse(Array(try SecretFile.text(path).utf8))
        } catch let error as SettingsError {
            throw Failure(.usage, error.description)
        } catch {
            throw Failure(.refused, "\(path) is not JSON: \(error)")
        }
        var steps: [Plan.Step] = []
        for move in json["moves"]?.array ?? [] {
            do {
                steps.append(try PlanRecord.step(move))
            } catch {
                throw Failure(.refused, "\(path): \(error)")
            }
        }
        for step in steps {
            _ = try draft.map.required(step.target.name)
            if let gone = step.buckets.first(where: { draft.map[$0].shard != step.source }) {
                throw Failure(
                    .conflict,
                    "\(path) is out of date: bucket \(gone) is not on \(step.source); plan again"
                )
            }
        }
        return Plan(
            steps: steps,
            imbalanceBefore: draft.plan.imbalanceBefore,
            imbalanceAfter: draft.plan.imbalanceAfter
        )
    }
}
