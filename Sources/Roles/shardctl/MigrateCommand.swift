import Administration
import ArgumentParser
import JSON
import Sharding

/// Brings the schema of every shard of the map up to date.
struct MigrateCommand: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "migrate",
        abstract:
            "Runs the migrations that a shard has not run yet; run again, it changes nothing.",
        discussion: """
            Each file runs once per shard, in a transaction with its record, under a lock of that shard. A
            file that would wait for a table's lock gives up soon and is tried again. The shards are
            migrated one after the other; at the first file that fails the command stops, and the shards
            before it keep the new schema: migrations are written so that both versions can run. A shard that
            does not answer is passed over and named.
            """
    )

    @Option(
        help: ArgumentHelp(
            "Folder below which every module's Migrations folder lies, such as Sources.",
            valueName: "folder"
        )
    )
    var migrations: String

    @Option(name: .customLong("shard"), help: "Only this shard. Repeatable.")
    var only: [String] = []

    @Flag(help: "Say what would run, and run nothing.")
    var dryRun = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    private struct Outcome {
        let shard: ShardID
        let ran: [MigrationFile]
        let failure: Failure?
    }

    func run(on cluster: Cluster) async throws {
        let files = try MigrationFile.load(from: migrations)
        let secrets = try cluster.secrets()
        let shards = try await chosen(from: cluster.map())

        var outcomes: [Outcome] = []
        for shard in shards {
            let outcome = migrate(shard, files, secrets)
            outcomes.append(outcome)
            if let failure = outcome.failure, failure.kind != .unavailable { break }
        }
        report(outcomes, of: shards)
        let worst =
            outcomes.compactMap(\.failure).first { $0.kind != .unavailable }
            ?? outcomes.compactMap(\.failure).first
        if let worst { throw worst }
    }

    private func migrate(
        _ shard: ShardRecord,
        _ files: [MigrationFile],
        _ secrets: ShardSecrets
    ) -> Outcome {
        var begun: [MigrationFile] = []
        do {
            let setup = ShardSetup(shard: shard, secrets: secrets)
            let migrator = Migrator(session: try setup.migrateSession())
            let ran =
                dryRun ? try migrator.pending(files) : try migrator.run(files) { begun.append($0) }
            return Outcome(shard: shard.id, ran: ran, failure: nil)
        } catch {
            // The last file that began is the one that failed.
            return Outcome(
                shard: shard.id,
                ran: begun.dropLast(),
                failure: Failure(error).at(shard.id)
            )
        }
    }

    private func chosen(from map: ShardMap) throws -> [ShardRecord] {
        guard !only.isEmpty else { return map.shards }
        return try only.map { name in
            guard let id = ShardID(name), let shard = map.shard(id) else {
                throw Failure(.usage, "the map has no shard '\(name)'")
            }
            return shard
        }
    }

    private func report(_ outcomes: [Outcome], of shards: [ShardRecord]) {
        let untouched = shards.dropFirst(outcomes.count).map(\.id)
        output.print(text(outcomes, untouched)) { json in
            json.field("dry_run", dryRun)
            json.key("shards")
            json.array { json in
                for outcome in outcomes {
                    json.object { json in
                        json.field("shard", outcome.shard.name)
                        json.key(dryRun ? "pending" : "ran")
                        json.array(outcome.ran.map(\.label))
                        json.field("error", outcome.failure?.message)
                    }
                }
            }
            json.key("not_reached")
            json.array(untouched.map(\.name))
        }
    }

    private func text(_ outcomes: [Outcome], _ untouched: [ShardID]) -> String {
        var lines: [String] = []
        for outcome in outcomes {
            for file in outcome.ran {
                lines.append("\(outcome.shard): \(dryRun ? "would run" : "ran") \(file.label)")
            }
            if let failure = outcome.failure {
                lines.append(
                    "\(outcome.shard): \(failure.kind == .unavailable ? "skipped" : "FAILED")"
                )
            } else if outcome.ran.isEmpty {
                lines.append("\(outcome.shard): up to date")
            }
        }
        for shard in untouched { lines.append("\(shard): not reached") }
        return lines.joined(separator: "\n")
    }
}
