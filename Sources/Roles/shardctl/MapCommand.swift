import ArgumentParser
import Etcd
import Glibc
import JSON
import Sharding

/// Shows the map and saves it.
struct MapCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "map",
        abstract: "Shows the map of buckets to shards.",
        subcommands: [MapShow.self, MapExport.self, MapImport.self],
        defaultSubcommand: MapShow.self
    )
}

struct MapShow: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Shows each shard with its buckets."
    )

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run(on cluster: Cluster) async throws {
        let map = try await cluster.map()
        output.print(text(map)) { json in
            json.field("generation", map.generation)
            json.key("shards")
            json.array { json in
                for shard in map.shards { shard.write(to: &json, in: map) }
            }
            json.key("buckets")
            json.array { json in
                for bucket in BucketID.all { map[bucket].write(to: &json, bucket: bucket) }
            }
        }
    }

    private func text(_ map: ShardMap) -> String {
        let total = map.shards.reduce(0) { $0 + $1.weight }
        let rows = map.shards.map { shard in
            let buckets = map.buckets(of: shard.id).count
            let share = total == 0 ? 0 : BucketID.count * shard.weight / total
            return [
                shard.id.name, "\(buckets)", "\(share)", "\(shard.weight)", shard.region.name,
                shard.addresses,
            ]
        }
        return "generation \(map.generation)\n"
            + table(["SHARD", "BUCKETS", "SHARE", "WEIGHT", "REGION", "ADDRESS"], rows)
    }
}

struct MapExport: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Writes the stored form of the map, as nodes keep it on disk."
    )

    @Option(
        help: ArgumentHelp(
            "Write to this file, atomically, instead of standard output.",
            valueName: "file"
        )
    )
    var file: String?

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run(on cluster: Cluster) async throws {
        let map = try await cluster.map()
        guard let file else {
            output.print(String(map.text.dropLast())) { json in
                json.field("generation", map.generation)
                json.field("text", map.text)
            }
            return
        }
        do {
            try MapFile(path: file).save(map)
        } catch {
            throw Failure(.usage, "\(error)")
        }
        output.print("\(file): generation \(map.generation)") { json in
            json.field("file", file)
            json.field("generation", map.generation)
        }
    }
}

extension ShardRecord {
    var addresses: String {
        members.map { "\($0.host):\($0.port)" }.joined(separator: ",")
    }

    func write(to json: inout JSONWriter, in map: ShardMap) {
        json.object { json in
            json.field("shard", id.name)
            json.field("buckets", map.buckets(of: id).count)
            json.field("weight", weight)
            json.field("region", region.name)
            json.field("database", database)
            json.key("members")
            json.array { json in
                for member in members {
                    json.object { json in
                        json.field("host", member.host)
                        json.field("port", member.port)
                        json.field("role", member.role.rawValue)
                        json.field("region", member.region.name)
                    }
                }
            }
        }
    }
}

extension ShardMap.Entry {
    func write(to json: inout JSONWriter, bucket: BucketID) {
        json.object { json in
            json.field("bucket", Int64(bucket.rawValue))
            json.field("shard", shard.name)
            json.field("epoch", epoch.rawValue)
            json.field("region", region.name)
            json.field("closed", closed)
        }
    }
}
