import Administration
import ArgumentParser
import JSON
import Sharding

/// Shows and puts back effects that were given up.
struct DeadCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dead",
        abstract: "Shows the effects that were given up, with the reason, and puts them back.",
        discussion: """
            An effect (a fan-out, a mirror, a clean-up) that failed too often is kept in jobs.dead of its \
            shard. Mend what its reason names, then put it back: it is due at once and starts without \
            attempts. An effect may run twice and changes nothing the second time.
            """,
        subcommands: [DeadList.self, DeadShow.self, DeadRequeue.self],
        defaultSubcommand: DeadList.self
    )
}

struct DeadList: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Lists the newest dead letters of every shard."
    )

    @Option(help: "Only effects of this kind.")
    var kind: String?

    @Option(help: "How many at most.")
    var limit = 50

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard (1...10_000).contains(limit) else {
            throw ValidationError("--limit must be between 1 and 10000")
        }
    }

    func run(on cluster: Cluster) async throws {
        let (letters, count, silent) = try await DeadLetters(of: cluster).newest(
            limit,
            kind: kind
        )
        output.print(text(letters, count, silent)) { json in
            json.field("count", count)
            json.key("dead")
            json.array { json in
                for letter in letters { letter.write(to: &json) }
            }
            json.key("unreachable")
            json.array(silent.map(\.name))
        }
        if !silent.isEmpty {
            throw Failure(.unavailable, "not all shards answered: \(DeadLetters.names(silent))")
        }
    }

    private func text(_ letters: [DeadLetter], _ count: Int, _ silent: [ShardID]) -> String {
        if letters.isEmpty { return silent.isEmpty ? "no dead letters" : "" }
        let rows = letters.map { letter in
            [
                letter.id, letter.shard.name, letter.kind, "\(letter.attempts)", letter.diedAt,
                letter.shortReason,
            ]
        }
        let lines = table(["ID", "SHARD", "KIND", "ATTEMPTS", "DIED", "REASON"], rows)
        return count > letters.count
            ? lines + "\n\(count - letters.count) more; see --limit and --kind" : lines
    }
}

struct DeadShow: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Shows one dead letter with its payload and the whole reason."
    )

    @Argument(help: "Its id, as in dead list.")
    var id: Int64

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run(on cluster: Cluster) async throws {
        let (found, silent) = try await DeadLetters(of: cluster).find(id)
        guard let letter = found else {
            guard silent.isEmpty else {
                throw Failure(
                    .unavailable,
                    "no shard that answers has the dead letter \(id); silent: "
                        + DeadLetters.names(silent)
                )
            }
            throw Failure(.conflict, "there is no dead letter \(id)")
        }
        output.print(
            """
            id        \(letter.id)
            shard     \(letter.shard), bucket \(letter.bucket)
            kind      \(letter.kind), version \(letter.version)
            made      \(letter.createdAt)
            given up  \(letter.diedAt), after \(letter.attempts) attempts
            reason    \(letter.reason)
            payload   \(letter.payload)
            """
        ) { letter.write(members: &$0) }
    }
}

struct DeadRequeue: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "requeue",
        abstract: "Puts dead letters back into the outbox, due at once."
    )

    @Argument(help: "Their ids, as in dead list.")
    var ids: [Int64] = []

    @Flag(help: "All of them.")
    var all = false

    @Option(help: "With --all: only effects of this kind.")
    var kind: String?

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard all != !ids.isEmpty else {
            throw ValidationError("name the ids, or give --all")
        }
        guard kind == nil || all else { throw ValidationError("--kind goes with --all") }
    }

    func run(on cluster: Cluster) async throws {
        let result = try await DeadLetters(of: cluster).requeue(all ? nil : ids, kind: kind)
        output.print("\(result.requeued) put back") { json in
            json.field("requeued", result.requeued)
            json.key("moving_buckets")
            json.array(result.moving.map(\.rawValue))
            json.key("unreachable")
            json.array(result.silent.map(\.name))
        }
        if !result.silent.isEmpty {
            throw Failure(
                .unavailable,
                "not all shards answered: \(DeadLetters.names(result.silent)); run it again later"
            )
        }
        if !result.moving.isEmpty {
            throw Failure(
                .conflict,
                "\(result.moving.count) buckets are on their way to another shard; run it again"
            )
        }
        if !all && result.requeued < Set(ids).count {
            throw Failure(
                .conflict,
                "\(Set(ids).count - result.requeued) of the ids name no dead letter"
            )
        }
    }
}
