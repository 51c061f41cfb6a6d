import Sharding

/// A map made from what the shards' owner rows say, when the stored one is lost or wrong.
package enum MapRestoration {
    private struct Claim {
        let shard: ShardID
        let epoch: Epoch
    }

    /// The map that the owner rows of all `shards` make.
    ///
    /// Who owns a bucket, or has fenced it, has it; one that is released belongs to the next. The highest epoch
    /// wins; two shards with the same one contradict each other. `known` is an older map, for what the shards do
    /// not know: which buckets take no new users, and their regions.
    package static func map(
        of shards: [ShardRecord],
        claims: [ShardID: [BucketID: ShardInspection.Owner]],
        known: ShardMap?,
        generation: Int64
    ) throws(MapConflict) -> ShardMap {
        var entries: [ShardMap.Entry] = []
        for bucket in BucketID.all {
            let owner = try owner(of: bucket, shards, claims)
            guard let record = shards.first(where: { $0.id == owner.shard }) else {
                throw MapConflict("bucket \(bucket) went to \(owner.shard), which is not named")
            }
            entries.append(
                ShardMap.Entry(
                    shard: owner.shard,
                    epoch: owner.epoch,
                    region: known?[bucket].region ?? record.region,
                    closed: known?[bucket].closed ?? false
                )
            )
        }
        do {
            return try ShardMap(generation: generation, entries: entries, shards: shards)
        } catch {
            throw MapConflict("\(error)")
        }
    }

    private static func owner(
        of bucket: BucketID,
        _ shards: [ShardRecord],
        _ claims: [ShardID: [BucketID: ShardInspection.Owner]]
    ) throws(MapConflict) -> Claim {
        var found: [Claim] = []
        for shard in shards {
            guard let row = claims[shard.id]?[bucket] else { continue }
            switch row.state {
            case "own", "fenced": found.append(Claim(shard: shard.id, epoch: row.epoch))
            case "released":
                guard let next = row.nextShard.flatMap({ ShardID($0) }) else { continue }
                found.append(Claim(shard: next, epoch: row.epoch.next))
            default: continue
            }
        }
        guard let highest = found.map(\.epoch).max() else {
            throw MapConflict(
                "no named shard owns bucket \(bucket): name every shard of the cluster"
            )
        }
        let winners = Set(found.filter { $0.epoch == highest }.map(\.shard))
        guard winners.count == 1, let winner = winners.first else {
            let names = winners.sorted().map(\.name).joined(separator: ", ")
            throw MapConflict("bucket \(bucket) is owned by more than one shard: \(names)")
        }
        return Claim(shard: winner, epoch: highest)
    }
}
