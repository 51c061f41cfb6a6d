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
    /// that a node may have seen; it is used when the stored map was lost. `cluster` is the name that map and
    /// shards have or get.
    package static func decide(
        cluster: ClusterID? = nil,
        stored: ShardMap?,
        named: [ShardRecord],
        found: [ShardID: ShardOwnership],
        restoredGeneration: Int64
    ) throws(MapConflict) -> MapDecision {
        for shard in named {
            guard let seen = found[shard.id] else { continue }
            if let cluster, let other = seen.cluster, other != cluster {
                throw MapConflict(
                    "the database given as \(shard.id) is shard \(seen.identity) of another Tessera "
                        + "(cluster \(other), this is \(cluster)): give the right address, or an empty server"
                )
            }
            if seen.identity != shard.id.name {
                throw MapConflict("the database given as \(shard.id) is shard \(seen.identity)")
            }
        }
        if let stored {
            return try against(stored, cluster: cluster, named: named, found: found)
        }
        var map = try first(named: named, found: found, restoredGeneration: restoredGeneration)
        map.cluster = cluster
        return .create(map)
    }

    /// The name that map and shards agree on; nil while none of them has one.
    package static func knownCluster(
        stored: ShardMap?,
        found: [ShardID: ShardOwnership]
    ) throws(MapConflict) -> ClusterID? {
        if let cluster = stored?.cluster { return cluster }
        let named = found.sorted { $0.key < $1.key }.compactMap { shard, seen in
            seen.cluster.map { (shard: shard, cluster: $0) }
        }
        guard let first = named.first else { return nil }
        if let other = named.first(where: { $0.cluster != first.cluster }) {
            throw MapConflict(
                "the databases given as \(first.shard) and \(other.shard) belong to different clusters "
                    + "(\(first.cluster) and \(other.cluster)): give the shards of one"
            )
        }
        return first.cluster
    }

    private static func against(
        _ stored: ShardMap,
        cluster: ClusterID?,
        named: [ShardRecord],
        found: [ShardID: ShardOwnership]
    ) throws(MapConflict) -> MapDecision {
        var map = stored
        map.cluster = stored.cluster ?? cluster
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
