import Administration
import ArgumentParser
import Coordination
import Etcd
import JSON
import Journals
import Sharding

/// Puts a map into an etcd that has lost it.
struct MapImport: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Rebuilds the map from the shards' owner rows, when etcd has lost it.",
        discussion: """
            Name every shard of the cluster, or give an exported map, or a node's copy of it, which knows their \
            addresses, weights and regions. Who owns a bucket is taken from the shards alone: the map of the file \
            may be old. A bucket that is between two owners goes to the one who has or gets it; shardctl doctor \
            tells what to do about it.
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

    @Option(help: ArgumentHelp("What map export wrote, or a node's copy.", valueName: "file"))
    var file: String?

    @Option(help: ArgumentHelp("Name of the database on each server.", valueName: "name"))
    var database = "tessera"

    @Option(help: ArgumentHelp("Region of the named shards.", valueName: "name"))
    var region = "local"

    @Flag(help: "Replace a map that is there, if the shards say something else.")
    var replace = false

    @Flag(name: .shortAndLong, help: "Do not ask before a map is replaced.")
    var yes = false

    @Flag(help: "Show the map that would be stored, and store nothing.")
    var dryRun = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run(on cluster: Cluster) async throws {
        let copy = try copy()
        let records = try records(copy)
        let secrets = try cluster.secrets()
        let stored = try await cluster.withMapStore { try await $0.load() }
        guard stored == nil || replace || dryRun else {
            throw Failure(
                .conflict,
                "etcd has a map of generation \(stored!.map.generation); shardctl doctor compares it with the "
                    + "shards, --replace replaces it"
            )
        }

        var claims: [ShardID: ShardInspection] = [:]
        for shard in records {
            let seen = try naming(shard.id) {
                try ShardInspection(ShardSetup(shard: shard, secrets: secrets).moverSession())
            }
            guard seen.identity == shard.id.name else {
                let other = seen.identity.map { "is shard \($0)" } ?? "was never set up"
                throw Failure(.conflict, "the database given as \(shard.id) \(other)")
            }
            claims[shard.id] = seen
        }
        let ours = try MapDecision.knownCluster(
            stored: stored?.map ?? copy,
            found: claims.mapValues {
                ShardOwnership(identity: "", cluster: $0.cluster, owned: [:])
            }
        )
        for (shard, seen) in claims.sorted(by: { $0.key < $1.key }) {
            guard let ours, let other = seen.cluster, other != ours else { continue }
            throw Failure(
                .conflict,
                "the database given as \(shard) belongs to another Tessera (cluster \(other), this is "
                    + "\(ours)): give the right address"
            )
        }
        var map = try MapRestoration.map(
            of: records,
            claims: claims.mapValues(\.owners),
            known: copy ?? stored?.map,
            // Higher than any that a node may have seen.
            generation: max(Timestamp.now.seconds, (stored?.map.generation ?? 0) + 1)
        )
        map.cluster = ours
        if !dryRun { try await store(map, stored, cluster) }
        output.print(
            "map of generation \(map.generation) \(dryRun ? "would be stored" : "stored"): "
                + "\(map.shards.count) shards"
        ) { json in
            json.field("dry_run", dryRun)
            json.field("generation", map.generation)
            json.key("shards")
            json.array { json in
                for shard in map.shards { shard.write(to: &json, in: map) }
            }
        }
    }

    private func store(
        _ map: ShardMap,
        _ stored: MapStore.Stored?,
        _ cluster: Cluster
    ) async throws {
        if stored != nil { try confirm("replace the map in etcd?", yes: yes, output) }
        let saved = try await cluster.withEtcd { etcd in
            // A journal that was lost with the map may have given out these names.
            try await IntentStore(etcd: etcd).raise(to: Timestamp.now.seconds)
            return try await MapStore(etcd: etcd).save(map, replacing: stored)
        }
        guard saved else {
            throw Failure(.conflict, "somebody else changed the map meanwhile; run this again")
        }
    }

    private func copy() throws -> ShardMap? {
        guard let file else { return nil }
        do {
            guard let map = try MapFile(path: file).load() else {
                throw Failure(.usage, "there is no file \(file)")
            }
            return map
        } catch let failure as Failure {
            throw failure
        } catch {
            throw Failure(.refused, "\(error)")
        }
    }

    private func records(_ copy: ShardMap?) throws -> [ShardRecord] {
        guard let region = Region(region) else {
            throw Failure(.usage, "'\(region)' is not a region's name (a-z, 0-9 and -)")
        }
        var records = copy?.shards ?? []
        for option in shards {
            var record = try ShardRecord(option: option, database: database, region: region)
            if let known = copy?.shard(record.id) {
                // The file knows all but the address that the operator gives.
                (record.weight, record.region) = (known.weight, known.region)
                record.database = known.database
            }
            records.removeAll { $0.id == record.id }
            records.append(record)
        }
        guard !records.isEmpty else {
            throw Failure(.usage, "name the shards (--shard s1=HOST:PORT …), or give --file")
        }
        return records.sorted { $0.id < $1.id }
    }
}
