"""The prepared clusters and the plots that several scenarios share."""
from . import mixes, world
from .cluster import BenchCluster, say


def small(frame, shards=4, **settings):
    """A cluster with a small social network in it, and what its readers can do."""
    quick = frame.options.quick
    cluster = BenchCluster(frame, shards, **settings)
    network = world.World(
        seed=frame.options.seed, people=500 if quick else 5_000, posts=5_000 if quick else 100_000,
        readers={20 if quick else 50: 60 if quick else 400}, others_follow=5)
    say(f"writing {len(network.people)} people and {len(network.posts)} posts")
    tokens = world.settle_in(cluster, network)
    cluster.rest()
    return cluster, mixes.Actions(network, tokens)


def latency_against_load(title):
    return {"title": title, "x": "requests a second", "y": "ms", "metrics": ["p50_ms", "p99_ms", "p999_ms"],
            "series": ["tessera"], "log": True}
