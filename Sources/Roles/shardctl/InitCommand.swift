import Administration
import ArgumentParser
import JSON
import Etcd
import Sharding

/// Turns bare PostgreSQL servers into the shards of a cluster and stores the first map.
///
/// Owner rows come before the map: whoever finds a map finds shards that can serve it.
struct InitCommand: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "init",
        abstract: "Makes roles, schemas, owner rows and the map; run again, it changes nothing.",
        discussion: """
            Name every shard of the cluster. A shard that the map does not know yet joins it without
            buckets. Where etcd has lost the map, it is rebuilt from the shards' owner rows.
            """
    )

    @Option(
        name: .customLong("shard"),
        help: ArgumentHelp(
            "A shard and the address of its PostgreSQL; standbys follow after a comma. Repeatable.",
            valueName: "name=host:port"
        )
    )
    var shards: [String] = []

    @OptionGroup var new: NewShardOptions

    @Flag(help: "Say what would be done, and do nothing.")
    var dryRun = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run(on cluster: Cluster) async throws {
        let named = try namedShards()
        // Owner rows need the control schema only; `migrate` brings the rest.
        let files = try MigrationFile.load(from: new.migrations).filter { $0.module == "Database" }
        let secrets = try cluster.secrets()
        let stored = try await cluster.withMapStore { try await $0.load() }

        var found: [ShardID: ShardOwnership] = [:]
        for shard in named {
            found[shard.id] = try naming(shard.id) {
                try ShardSetup(shard: shard, secrets: secrets).ownership()
            }
        }
        let decision = try MapDecision.decide(
            cluster: try await agreedName(cluster, stored?.map, found),
            stored: stored?.map,
            named: named,
            found: found,
            restoredGeneration: Timestamp.now.seconds
        )
        guard !dryRun else { return report(decision, done: false) }

        for shard in named { try prepare(shard, secrets, files, decision.map) }
        if decision.map != stored?.map {
            let map = decision.map
            let saved = try await cluster.withMapStore { store in
                try await store.save(map, replacing: stored)
            }
            guard saved else {
                throw Failure(.conflict, "somebody else changed the map meanwhile; run this again")
            }
        }
        report(decision, done: true)
    }

    /// The name that map and shards have; a new cluster draws one. A dry run leaves none behind.
    private func agreedName(
        _ cluster: Cluster,
        _ stored: ShardMap?,
        _ found: [ShardID: ShardOwnership]
    ) async throws -> ClusterID? {
        let known = try MapDecision.knownCluster(stored: stored, found: found)
        return try await cluster.withMapStore { [dryRun] store in
            if let agreed = try await store.knownCluster() { return agreed }
            guard !dryRun else { return known }
            var random = SystemRandomNumberGenerator()
            return try await store.cluster(orDraw: known ?? .drawn(using: &random))
        }
    }

    private func prepare(
        _ shard: ShardRecord,
        _ secrets: ShardSecrets,
        _ files: [MigrationFile],
        _ map: ShardMap
    ) throws {
        let setup = ShardSetup(shard: shard, secrets: secrets)
        try naming(shard.id) {
            try setup.prepareServer()
            try Migrator(session: setup.migrateSession()).run(files)
            try setup.prepareOwnership(by: map)
            output.progress("\(shard.id): ready")
        }
    }

    private func namedShards() throws -> [ShardRecord] {
        guard !shards.isEmpty else {
            throw Failure(.usage, "name the shards: --shard s1=HOST:PORT …")
        }
        let records = try shards.map { try new.record($0) }
        let names = Set(records.map(\.id))
        guard names.count == records.count else { throw Failure(.usage, "a shard is named twice") }
        return records
    }

    private func report(_ decision: MapDecision, done: Bool) {
        let verb: String
        switch decision {
        case .keep: verb = done ? "unchanged" : "would stay unchanged"
        case .extend: verb = done ? "extended" : "would be extended"
        case .create: verb = done ? "stored" : "would be stored"
        }
        let map = decision.map
        output.print(
            "map: \(verb), generation \(map.generation), \(map.shards.count) shards, "
                + "\(BucketID.count) buckets"
        ) { json in
            json.field("map", verb)
            json.field("dry_run", !done)
            json.field("generation", map.generation)
            json.key("shards")
            json.array { json in
                for shard in map.shards { shard.write(to: &json, in: map) }
            }
        }
    }
}

/// What the servers have in common that a command makes shards of.
struct NewShardOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Name of the database on each server.", valueName: "name"))
    var database = "tessera"

    @Option(help: ArgumentHelp("Region of these shards.", valueName: "name"))
    var region = "local"

    @Option(
        help: ArgumentHelp(
            "Folder below which every module's Migrations folder lies, such as Sources.",
            valueName: "folder"
        )
    )
    var migrations: String

    /// The record of `s1=HOST:PORT`.
    func record(_ option: String) throws -> ShardRecord {
        guard let region = Region(region) else {
            throw Failure(.usage, "'\(region)' is not a region's name (a-z, 0-9 and -)")
        }
        return try ShardRecord(option: option, database: database, region: region)
    }
}

extension ShardRecord {
    /// Reads `s1=127.0.0.1:15201[,HOST:PORT…]`: the primary first, then standbys.
    init(option: String, database: String, region: Region) throws {
        let wrong = Failure(.usage, "'\(option)' is not of the form s1=HOST:PORT")
        let sides = option.split(separator: "=", maxSplits: 1)
        guard sides.count == 2, let id = ShardID(String(sides[0])) else { throw wrong }
        var members: [Member] = []
        for address in sides[1].split(separator: ",", omittingEmptySubsequences: false) {
            guard let colon = address.lastIndex(of: ":"), colon > address.startIndex,
                let port = Int(address[address.index(after: colon)...]), (1...65_535).contains(port)
            else { throw wrong }
            members.append(
                Member(
                    host: String(address[..<colon]),
                    port: port,
                    role: members.isEmpty ? .primary : .standby,
                    region: region
                )
            )
        }
        self.init(id: id, members: members, database: database, region: region)
    }
}
