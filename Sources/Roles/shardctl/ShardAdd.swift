import Administration
import ArgumentParser
import JSON
import Sharding

/// Turns a bare PostgreSQL server into a shard of a running cluster; it gets its buckets by `plan` and `apply`.
struct ShardAdd: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "add",
        abstract:
            "Prepares a bare PostgreSQL server and puts it into the map, without buckets yet.",
        discussion: """
            The server needs its superuser role mover with the password in secrets/postgres-mover. What keeps it \
            from becoming a shard is listed before anything on it is changed. Run again, it changes nothing.
            """
    )

    /// A weight is never higher.
    static let heaviest = 1_000_000

    @Argument(help: "Name of the new shard, such as s5.")
    var shard: String

    @Option(
        help: ArgumentHelp("Its PostgreSQL; standbys follow after a comma.", valueName: "host:port")
    )
    var address: String

    @Option(help: "How much it shall carry beside the others.")
    var weight = 1

    @OptionGroup var new: NewShardOptions

    @Flag(help: "Check everything, and change nothing.")
    var dryRun = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run(on cluster: Cluster) async throws {
        let record = try record()
        let files = try MigrationFile.load(from: new.migrations)
        let secrets = try cluster.secrets()
        let map = try await cluster.map()
        let isKnown = try check(record, against: map)
        let setup = ShardSetup(shard: record, secrets: secrets)
        if !isKnown { try refuseUnfit(record, setup, files, map, secrets) }
        guard !dryRun else {
            return report(record, map, verb: isKnown ? "known" : "would be added")
        }

        try naming(record.id) {
            output.progress("\(record.id): roles and database")
            try setup.prepareServer()
            try Migrator(session: setup.migrateSession()).run(files) { file in
                output.progress("\(record.id): \(file.label)")
            }
            try setup.prepareOwnership(by: map)
        }
        let changed = try await cluster.changeMap { map in
            guard map.shard(record.id) == nil else { return false }
            map.put(record)
            return true
        }
        report(record, changed, verb: isKnown ? "known" : "added")
    }

    private func record() throws -> ShardRecord {
        guard (1...Self.heaviest).contains(weight) else {
            throw Failure(.usage, "a weight is 1 to \(Self.heaviest)")
        }
        guard ShardID(shard) != nil else {
            throw Failure(
                .usage,
                "'\(shard)' is not a shard's name (a-z, 0-9 and -, a letter first)"
            )
        }
        var record = try new.record("\(shard)=\(address)")
        record.weight = weight
        return record
    }

    /// Whether the map knows just this shard already.
    private func check(_ record: ShardRecord, against map: ShardMap) throws -> Bool {
        if let known = map.shard(record.id) {
            guard known.members == record.members, known.database == record.database else {
                throw Failure(
                    .conflict,
                    "the map has \(record.id) at \(known.addresses), database \(known.database): "
                        + "choose another name"
                )
            }
            return true
        }
        let addresses = Set(record.members.map { "\($0.host):\($0.port)/\(record.database)" })
        for other in map.shards {
            let taken = other.members.map { "\($0.host):\($0.port)/\(other.database)" }
            if let same = taken.first(where: addresses.contains) {
                throw Failure(
                    .conflict,
                    "\(same) is already shard \(other.id): give another address"
                )
            }
        }
        return false
    }

    private func refuseUnfit(
        _ record: ShardRecord,
        _ setup: ShardSetup,
        _ files: [MigrationFile],
        _ map: ShardMap,
        _ secrets: ShardSecrets
    ) throws {
        let facts = try naming(record.id) { try setup.facts() }
        let objections =
            ShardFitness.objections(
                to: facts,
                as: record.id,
                of: map.cluster,
                isNew: true,
                expectedBytes: expectedBytes(record, map, secrets)
            ) + ShardFitness.schemaObjections(facts.migrations, files: files)
        guard objections.isEmpty else {
            throw Failure(
                .refused,
                objections.map { "\(record.id) (\(record.addresses)): \($0)" }
                    .joined(separator: "\n")
            )
        }
    }

    /// Its share, by weight, of what all shards that answer hold.
    private func expectedBytes(
        _ record: ShardRecord,
        _ map: ShardMap,
        _ secrets: ShardSecrets
    ) -> Int64 {
        var total: Int64 = 0
        for shard in map.shards {
            do {
                let session = try ShardSetup(shard: shard, secrets: secrets).moverSession()
                let size = try session.value("SELECT pg_database_size(current_database())")
                total += size.flatMap { Int64($0) } ?? 0
            } catch {
                // A shard that does not answer is not what this command is about.
                continue
            }
        }
        let weights = map.shards.reduce(record.weight) { $0 + $1.weight }
        return total / Int64(max(1, weights)) * Int64(record.weight)
    }

    private func report(_ record: ShardRecord, _ map: ShardMap, verb: String) {
        output.print(
            "\(record.id): \(verb), generation \(map.generation), "
                + "\(map.buckets(of: record.id).count) buckets; shardctl plan shows what it would get"
        ) { json in
            json.field("shard", record.id.name)
            json.field("result", verb)
            json.field("dry_run", dryRun)
            json.field("generation", map.generation)
        }
    }
}
