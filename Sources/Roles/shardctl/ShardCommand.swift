import ArgumentParser
import JSON
import Sharding

/// Shows the records of shards.
struct ShardCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shard",
        abstract: "Shows the shards that the map knows.",
        subcommands: [ShardList.self],
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
