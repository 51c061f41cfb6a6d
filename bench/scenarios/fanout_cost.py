"""What one follower more costs a fan-out: CPU of worker and PostgreSQL, from 100 followers to 1,000,000.

On one shard of 100,000 readers with feeds. Up to 100,000 followers every one gets an entry. The author with 1,000,000 is
beyond the threshold (10,000, as the product is set): nobody gets an entry, their posts are merged when a feed is
read, and what is left is to look once how many followers there are. Each point delivers about as many entries in all, so a
post to 100 followers pays for its own effect a thousand times.
"""
import math

from frame import Unavailable

from . import fanout

ROUNDS = 5
ENTRIES = 200_000
THRESHOLD = 10_000
FOLLOWERS = (100, 1_000, 10_000, 100_000)
BEYOND = 1_000_000
GOALS = [
    {"text": "CPU of a fan-out for each follower, 100,000 followers beside 100", "variant": "largest",
     "metric": "cpu_us_follower", "peer": "smallest", "most": 1.1},
    {"text": "Entries written beyond the threshold", "variant": f"tessera@{BEYOND}", "metric": "entries",
     "peer": None, "of": "max", "most": 0},
]
PLOTS = [{"title": "CPU of a fan-out for each follower", "x": "followers of the author", "y": "µs",
          "metrics": ["cpu_us_follower"], "series": ["tessera"], "log_x": True, "log": True}]


def run(frame):
    quick = frame.options.quick
    sizes = FOLLOWERS[:3] if quick else FOLLOWERS
    beyond = 30_000 if quick else BEYOND
    authors = {size: fanout.AUTHOR + (number << 16) for number, size in enumerate((*sizes, beyond))}
    shard = fanout.Shard(frame, {author: size for size, author in authors.items()})

    def deliver(size, posts, expected):
        """One process at a time: each would take the effects of all authors."""
        threshold = THRESHOLD if size == beyond else 10 * beyond
        product = fanout.Product(frame, shard, authors[size], threshold)
        try:
            # Connections, statements and what the first post finds out about its author.
            product.publish(1)
            shard.restore()
            before = shard.server.cpu_seconds() + product.cpu_seconds()
            seconds = product.publish(posts)
            used = shard.server.cpu_seconds() + product.cpu_seconds() - before
        finally:
            product.close()
        rows = shard.rows()
        if rows != expected:
            raise Unavailable(f"{rows} entries instead of {expected}")
        return {"cpu_us_follower": used / (size * posts) * 1e6, "cpu_ms_post": used / posts * 1e3,
                "seconds_post": seconds / posts, "entries": rows}

    measures = {}
    for size in sizes:
        posts = math.ceil((ENTRIES / 10 if quick else ENTRIES) / size)
        measures[f"tessera@{size}"] = lambda s=size, n=posts: deliver(s, n, s * n)
    measures[f"tessera@{beyond}"] = lambda: deliver(beyond, 100, 0)
    taken = frame.rounds("fanout-cost", measures, warm=False)
    cost = {size: [one["cpu_us_follower"] for one in taken[f"tessera@{size}"]]
            for size in (sizes[0], sizes[-1])}
    frame.emit("fanout-cost", "largest", "smallest", "cpu_us_follower", cost[sizes[-1]], cost[sizes[0]])
