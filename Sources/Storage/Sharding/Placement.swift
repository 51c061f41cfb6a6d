import Glibc

/// Where buckets go: a first placement by weighted rendezvous, and plans that move the fewest buckets.
///
/// Every answer is a pure function of its inputs: same input, same plan, on every machine.
package enum Placement {
    /// One bucket that changes its shard.
    package struct Move: Hashable, Sendable {
        package let bucket: BucketID
        package let from: ShardID
        package let to: ShardID
    }

    /// A new shard takes at most this multiple of its share.
    package static let moveBound = 1.05

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

    /// The moves that bring a shard, which has a record but no buckets yet, to its share: all of them go to
    /// it, each from the shard that is then the fullest of its region.
    package static func plan(filling id: ShardID, in map: ShardMap) -> [Move] {
        guard let new = map.shard(id) else { return [] }
        let peers = map.shards.filter { $0.region == new.region && $0.weight > 0 }
        var owned: [ShardID: [BucketID]] = [:]
        for bucket in BucketID.all where map[bucket].region == new.region {
            owned[map[bucket].shard, default: []].append(bucket)
        }
        let total = owned.values.reduce(0) { $0 + $1.count }
        let weights = peers.reduce(0) { $0 + $1.weight }
        guard weights > 0 else { return [] }
        let share = Double(total) * Double(new.weight) / Double(weights)
        let rounded = share.rounded()
        let target = Int(rounded <= share * moveBound ? rounded : share.rounded(.down))
        let held = owned[id]?.count ?? 0

        var moves: [Move] = []
        for _ in 0..<max(0, target - held) {
            let donor = peers.filter { $0.id != id && !(owned[$0.id] ?? []).isEmpty }.max {
                let a = load($0, owned), b = load($1, owned)
                return a == b ? $0.id > $1.id : a < b
            }
            guard let donor, let buckets = owned[donor.id] else { break }
            let best = buckets.indices.max {
                score(buckets[$0], new) < score(buckets[$1], new)
            }!
            moves.append(Move(bucket: buckets[best], from: donor.id, to: id))
            owned[donor.id]!.remove(at: best)
        }
        return moves.sorted { $0.bucket < $1.bucket }
    }

    private static func load(_ shard: ShardRecord, _ owned: [ShardID: [BucketID]]) -> Double {
        Double(owned[shard.id]?.count ?? 0) / Double(shard.weight)
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
