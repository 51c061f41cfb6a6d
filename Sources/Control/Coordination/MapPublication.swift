package import Sharding

extension ShardMap {
    /// The map with these buckets at their owner, where that is news; nil when nothing changes.
    ///
    /// An entry only takes a higher epoch: whoever publishes late changes nothing.
    package func publishing(
        _ buckets: [BucketID],
        owner: ShardID,
        epochs: [Epoch]
    ) -> ShardMap? {
        precondition(buckets.count == epochs.count, "one epoch for each bucket")
        guard shard(owner) != nil else { return nil }
        var map = self
        for (bucket, epoch) in zip(buckets, epochs) where map[bucket].epoch < epoch {
            map[bucket].shard = owner
            map[bucket].epoch = epoch
        }
        guard map != self else { return nil }
        map.generation += 1
        return map
    }
}
