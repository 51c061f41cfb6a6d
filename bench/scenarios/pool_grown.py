"""A cache pool of four nodes takes in a fifth and lets it go again while people read and post: what its readers saw, and
how many more reads came to the shards because of it.

Reads of the shards are the pool's misses, which the app node counts; those of the change stand beside those of as long
a time before it. The pool of posts and authors is the one that changes: its misses are what costs a shard something.
"""
import re
import time
import urllib.request

from open_loop.site import Watch
from suite import faults

ROUNDS, SECONDS, QUICK_SECONDS = 3, 60, 45
PLOTS = [faults.over_time("A fifth cache node from one third on: p99 of home reads in each second")]
POOL, NODES, WARM_SECONDS = "object", 4, 4
GOALS = [
    {"text": "A cache pool from 4 to 5 nodes: more reads of the shards, as a share of all", "variant": "object-pool",
     "metric": "extra_reads_share", "peer": None, "of": "median", "most": 0.02},
    {"text": "A cache pool from 4 to 5 nodes: errors of home reads", "variant": "home-during", "metric": "errors",
     "peer": None, "of": "max", "most": 0},
]


def run(frame):
    shares = []

    def grow(cluster):
        """The nodes of before come first; then the reads of a while, and those of the change."""
        with Reads(cluster) as reads:
            before = time.monotonic()
            time.sleep(WARM_SECONDS)
            began = time.monotonic()
            cluster.command("grow", "--cache", POOL, "1", "--warm", str(WARM_SECONDS))
            time.sleep(1)
            reads.look()
        shares.append(reads.extra(before, began, time.monotonic()))

    def shrink(cluster, _):
        cluster.command("shrink", "--cache", POOL, "1", "--warm", "1")

    def prepared(cluster):
        cluster.command("grow", "--cache", POOL, str(NODES - 2), "--warm", "1")

    faults.run(frame, "pool-grown", grow, shrink, prepare=prepared)
    frame.emit("pool-grown", "object-pool", None, "extra_reads_share", shares)


class Reads(Watch):
    """Looks at how many keys of the pool were asked for, and how many of them were missed."""

    LINE = re.compile(rf'^tessera_cache_reads_total{{pool="{POOL}",result="(hit|miss)"}} (\S+)', re.M)

    def __init__(self, cluster, every=0.25):
        super().__init__(cluster.site, every)
        self.url = f"http://127.0.0.1:{cluster.base + 151}/metrics"
        self.looks = []

    def look(self):
        now = time.monotonic()
        with urllib.request.urlopen(self.url, timeout=5) as answer:
            found = dict(self.LINE.findall(answer.read().decode()))
        self.looks.append((now, float(found["hit"]), float(found["miss"])))

    def extra(self, before, began, ended):
        """Misses a second of the change beyond those of before, as a share of the reads."""
        def rates(start, end):
            inside = [look for look in self.looks if start <= look[0] <= end]
            first, last = inside[0], inside[-1]
            seconds = last[0] - first[0]
            return (last[1] - first[1]) / seconds, (last[2] - first[2]) / seconds

        (_, usual), (hits, misses) = rates(before, began), rates(began, ended)
        return max(0.0, misses - usual) / (hits + misses)
