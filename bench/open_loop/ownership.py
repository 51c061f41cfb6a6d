"""Watches the owner rows of every shard: at no time may two shards own one bucket."""
from .site import Unanswered, Watch


class OwnershipWatch(Watch):
    """Looks at all shards over and over, from a thread of its own.

    Rows of several shards are never read at one moment, so what looks like two owners is looked at again: it
    counts only where the first owner still owns the bucket, at the same epoch, after the second was seen.
    """

    def __init__(self, cluster, every=0.2):
        super().__init__(cluster, every)
        self.doubles, self.looks = [], 0

    def look(self):
        rows = {}
        for shard in self.cluster.shards():
            try:
                rows[shard] = self.cluster.owner_rows(shard)
            except Unanswered:
                # It is down, and owns nothing while it is.
                continue
        self.looks += 1
        owner = {}
        for shard, buckets in rows.items():
            for bucket, (state, epoch) in buckets.items():
                if state != "own":
                    continue
                if bucket in owner:
                    self._suspect(bucket, *owner[bucket], shard, epoch)
                owner[bucket] = (shard, epoch)

    def _suspect(self, bucket, first, first_epoch, second, second_epoch):
        try:
            now = self.cluster.owner_rows(first).get(bucket)
        except Unanswered:
            return
        if now == ("own", first_epoch):
            self.doubles.append(
                f"bucket {bucket}: {first} (epoch {first_epoch}) and {second} ({second_epoch})")

    def ownerless(self):
        """Buckets that no shard owns at present."""
        owned = set()
        for shard in self.cluster.shards():
            owned |= {b for b, (state, _) in self.cluster.owner_rows(shard).items() if state == "own"}
        return sorted(set(range(1024)) - owned)
