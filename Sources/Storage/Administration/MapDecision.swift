import Sharding

/// Which map a cluster should have, decided from what etcd and the shards themselves say.
package enum MapDecision: Equatable {
    /// The stored map stands.
    case keep(ShardMap)
    /// The stored map stands, with the records of shards that it did not know; they own nothing yet.
    case extend(ShardMap)
    /// There was no map; this is the first one, or what the owner rows say after etcd was lost.
    case create(ShardMap)

    package var map: ShardMap {
        switch self {
        case .keep(let map), .extend(let map), .create(let map): map
        }
    }

    /// Decides for the shards that the operator named. `found` holds what each shard's database says of
    /// itself, and nothing for a shard that was never set up. `restoredGeneration` must be higher than any
    /// that a node may have seen; it is used when the stored map was lost.
    package static func decide(
        stored: ShardMap?,
        named: [ShardRecord],
        found: [ShardID: ShardOwnership],
        restoredGeneration: Int64
    ) throws(MapConflict) -> MapDecision {
        for shard in named {
            if let identity = found[shard.id]?.identity, identity != shard.id.name {
                throw MapConflict("the database given as \(shard.id) is shard \(identity)")
            }
        }
        if let stored { return try against(stored, named: named, found: found) }
        return .create(
            try first(named: named, found: found, restoredGeneration: restoredGeneration)
        )
    }

    private static func against(
        _ stored: ShardMap,
        named: [ShardRecord],
        found: [ShardID: ShardOwnership]
    ) throws(MapConflict) -> MapDecision {
        var map = stored
        for shard in named {
            guard let known = stored.shard(shard.id) else {
                guard found[shard.id]?.owned.isEmpty ?? true else {
                    throw MapConflict("\(shard.id) is not in the map, but owns buckets")
                }
                map.put(shard)
                continue
            }
            guard known.members == shard.members, known.database == shard.database else {
                throw MapConflict(
                    "the map has \(shard.id) at another address; this command does not move a shard"
                )
            }
            guard found[shard.id] != nil || stored.buckets(of: shard.id).isEmpty else {
                throw MapConflict(
                    "\(shard.id) owns buckets in the map, but its database is empty: restore it first"
                )
            }
        }
        guard map != stored else { return .keep(stored) }
        map.generation += 1
        return .extend(map)
    }

    private static func first(
        named: [ShardRecord],
        found: [ShardID: ShardOwnership],
        restoredGeneration: Int64
    ) throws(MapConflict) -> ShardMap {
        let proposed: ShardMap
        do {
            proposed = try Placement.firstMap(shards: named)
        } catch {
            throw MapConflict("\(error)")
        }
        // An interrupted first run left some shards with just what it proposed.
        let continues = found.allSatisfy { id, ownership in
            ownership.owned.count == proposed.buckets(of: id).count
                && ownership.owned.allSatisfy {
                    proposed[$0].shard == id && proposed[$0].epoch == $1
                }
        }
        if continues { return proposed }
        return try restored(named: named, found: found, generation: restoredGeneration)
    }

    private static func restored(
        named: [ShardRecord],
        found: [ShardID: ShardOwnership],
        generation: Int64
    ) throws(MapConflict) -> ShardMap {
        var entries: [ShardMap.Entry] = []
        for bucket in BucketID.all {
            let owners = named.filter { found[$0.id]?.owned[bucket] != nil }
            guard let owner = owners.first, owners.count == 1,
                let epoch = found[owner.id]?.owned[bucket]
            else {
                let names = owners.map(\.id.name).joined(separator: ", ")
                throw MapConflict(
                    owners.isEmpty
                        ? "no named shard owns bucket \(bucket): name every shard of the cluster"
                        : "bucket \(bucket) is owned by more than one shard: \(names)"
                )
            }
            entries.append(.init(shard: owner.id, epoch: epoch, region: owner.region))
        }
        do {
            return try ShardMap(generation: generation, entries: entries, shards: named)
        } catch {
            throw MapConflict("\(error)")
        }
    }
}

/// Why what the operator asks for contradicts what exists.
package struct MapConflict: Error, Equatable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}
