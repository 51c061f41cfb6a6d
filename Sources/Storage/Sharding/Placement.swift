import Glibc

/// Where buckets go at first: by weighted rendezvous. Afterwards only plans move them, see `Coordination`.
///
/// The answer is a pure function of its input: the same on every machine.
package enum Placement {
    /// The first map: each bucket goes to the shard which scores highest for it and still has room.
    ///
    /// Room is the shard's share by weight, so that no shard starts with more than one bucket above it; plain
    /// rendezvous would leave 4 % at 4 shards and 19 % at 16.
    package static func firstMap(shards: [ShardRecord]) throws(ShardMapError) -> ShardMap {
        guard shards.contains(where: { $0.weight > 0 }) else {
            throw ShardMapError("no shard takes buckets")
        }
        guard shards.count <= BucketID.count else {
            throw ShardMapError("\(shards.count) shards for \(BucketID.count) buckets")
        }
        var room = quotas(of: BucketID.count, among: shards)
        var entries: [ShardMap.Entry] = []
        for bucket in BucketID.all {
            var best: (place: Int, score: Double)?
            for place in shards.indices where room[place] > 0 {
                let score = score(bucket, shards[place])
                if score > best?.score ?? 0 { best = (place, score) }
            }
            // The quotas add up to the number of buckets, so there is room for each.
            let place = best!.place
            room[place] -= 1
            entries.append(.init(shard: shards[place].id, region: shards[place].region))
        }
        return try ShardMap(generation: 1, entries: entries, shards: shards)
    }

    /// Whole shares by largest remainder; ties go to the smaller name.
    private static func quotas(of total: Int, among shards: [ShardRecord]) -> [Int] {
        let weights = shards.reduce(0) { $0 + $1.weight }
        var quotas = shards.map { total * $0.weight / weights }
        let byRemainder = shards.indices.sorted {
            let a = total * shards[$0].weight % weights, b = total * shards[$1].weight % weights
            return a == b ? shards[$0].id < shards[$1].id : a > b
        }
        for index in byRemainder.prefix(total - quotas.reduce(0, +)) { quotas[index] += 1 }
        return quotas
    }

    /// Weighted rendezvous: `weight / -ln(u)` for a uniform `u` drawn from (bucket, shard).
    private static func score(_ bucket: BucketID, _ shard: ShardRecord) -> Double {
        let number = UInt8(truncatingIfNeeded: bucket.rawValue)
        let key = [UInt8(bucket.rawValue >> 8), number] + shard.id.name.utf8
        let hash = SipHash.placement.hash(key)
        let uniform = (Double(hash >> 11) + 0.5) / Double(1 << 53)
        return Double(shard.weight) / -log(uniform)
    }
}
