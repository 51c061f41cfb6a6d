import Administration
import ArgumentParser
import Coordination
import JSON
import Journals
import Sharding

/// Gives the bucket of a very large account a shard of its own.
struct IsolateCommand: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "isolate",
        abstract: "Gives an account's bucket a shard for itself; plan and apply follow it.",
        discussion: """
            The bucket takes no new users from now on. Everything else leaves the shard when the plan is carried \
            out; who shares the bucket already stays with the account, since ids never change.
            """
    )

    @Argument(help: "The account: its username, or its id.")
    var account: String

    @Option(help: "The shard; without it one that has no buckets.")
    var to: String?

    @Flag(help: "Take it back: the bucket and the shard are like the others again.")
    var undo = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run(on cluster: Cluster) async throws {
        let map = try await cluster.map()
        let bucket = try find(map, try cluster.secrets())
        let undo = self.undo
        let intent = try await cluster.controlState().intent
        let shard = undo ? nil : try target(for: bucket, map, intent)

        let state = try await cluster.ask { intent in
            intent.isolated[bucket] = shard
            // One bucket is wanted in one place.
            if shard != nil { intent.pins[bucket] = nil }
        }
        let changed = try await cluster.changeMap { map in
            guard map[bucket].closed != !undo else { return false }
            map[bucket].closed = !undo
            return true
        }
        let line =
            shard.map { "bucket \(bucket) of \(account) gets \($0) for itself: shardctl apply" }
            ?? "bucket \(bucket) of \(account) is like the others again"
        output.print(line) { json in
            json.field("account", account)
            json.field("bucket", Int(bucket.rawValue))
            json.field("shard", shard?.name)
            json.field("generation", changed.generation)
            json.field("leader", state.leader?.name)
        }
    }

    private func target(
        for bucket: BucketID,
        _ map: ShardMap,
        _ intent: ClusterIntent
    ) throws -> ShardID {
        if let to {
            let shard = try map.required(to)
            guard map.shards.contains(where: { $0.id != shard.id }) else {
                throw Failure(.conflict, "\(shard.id) is the only shard: add one first")
            }
            return try free(shard.id, for: bucket, intent)
        }
        let region = map[bucket].region
        let empty = map.shards.first {
            $0.region == region && map.buckets(of: $0.id).isEmpty
                && !intent.drains.contains($0.id) && !intent.isolated.values.contains($0.id)
        }
        guard let empty else {
            throw Failure(
                .conflict,
                "no shard of region \(region) is empty: shardctl shard add, or name one with --to"
            )
        }
        return empty.id
    }

    private func free(
        _ shard: ShardID,
        for bucket: BucketID,
        _ intent: ClusterIntent
    ) throws -> ShardID {
        if let other = intent.isolated.first(where: { $0.value == shard && $0.key != bucket }) {
            throw Failure(.conflict, "\(shard) is for bucket \(other.key) alone")
        }
        guard !intent.drains.contains(shard) else {
            throw Failure(
                .conflict,
                "\(shard) is to be empty: shardctl shard drain \(shard) --undo"
            )
        }
        if let pin = intent.pins.first(where: { $0.value == shard && $0.key != bucket }) {
            throw Failure(
                .conflict,
                "bucket \(pin.key) is pinned to \(shard): shardctl unpin \(pin.key)"
            )
        }
        return shard
    }

    /// The bucket of the account, which some shard knows.
    private func find(_ map: ShardMap, _ secrets: ShardSecrets) throws -> BucketID {
        let name = account.first == "@" ? String(account.dropFirst()) : account
        for shard in map.shards where !map.buckets(of: shard.id).isEmpty {
            let found = try naming(shard.id) {
                let session = try ShardSetup(shard: shard, secrets: secrets).moverSession()
                return try session.value(
                    """
                    SELECT bucket FROM accounts.account
                    WHERE (username_folded = lower($1) OR id::text = $1) AND state <> 3
                    """,
                    [name]
                )
            }
            if let bucket = found.flatMap({ Int($0) }).flatMap({ BucketID(rawValue: $0) }) {
                return bucket
            }
        }
        throw Failure(.usage, "there is no account '\(account)'")
    }
}
