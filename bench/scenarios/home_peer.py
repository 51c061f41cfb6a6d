"""Home timelines at the sizes at which GoToSocial was measured on a machine like this one.

200 follows, 3,000 posts, 100 readers, 20 posts a page. Its figures are constants, taken from the text of the task and not
measured here: 2,900 reads a second at 0.63 ms of CPU each with a cache of 2 GiB, 161 at 11.8 ms with its default cache,
pages of 55 KB; a post was visible to 1,000 followers after 1.6 s and to 10,000 after about 50 s. So a ratio stands
beside another run on another day: read it as a size, not to the digit.

`visible` is when the last of all followers has the post: every entry is committed, and 20 of them see it when they ask.
Beside it, in the same rounds, a feed on one PostgreSQL that inserts a row for each follower in the transaction of
the post, as simply as that can be done: no worker, no owner of buckets, no other shard, and the writer waits for it.
"""
import time

from suite import world
from suite.cluster import BenchCluster, say
from suite.load import Generator
from suite.mixing import fresh_key
from suite.sqlfeed import SQLFeed
from suite.watching import Caller, Entries

from .home_reads import first, hydrated, of_cluster, plan_of

ROUNDS, SECONDS = 5, 3
# Milliseconds of CPU of one read, and reads a second.
PEERS = {"gotosocial-2GiB-cache": (0.63, 2_900), "gotosocial-default-cache": (11.8, 161)}
PEER_VISIBLE_S = {1_000: 1.6, 10_000: 50.0}
LOOKING = 20
GOALS = [
    {"text": "Home reads for a CPU second beside GoToSocial with a cache of 2 GiB", "variant": "tessera",
     "metric": "reads_per_cpu_second", "peer": "gotosocial-2GiB-cache", "least": 10},
    {"text": "Home reads for a CPU second beside GoToSocial with its default cache", "variant": "tessera",
     "metric": "reads_per_cpu_second", "peer": "gotosocial-default-cache", "least": 10},
    *({"text": f"Time until a post is visible to {size:,} followers beside GoToSocial's",
       "variant": f"tessera-{size}-followers", "metric": "visible_s", "peer": f"gotosocial-{size}-followers",
       "most": 0.05} for size in PEER_VISIBLE_S),
]


def run(frame):
    quick = frame.options.quick
    crowds = [100] if quick else list(PEER_VISIBLE_S)
    network = world.World(seed=frame.options.seed, people=500, posts=3_000, readers={200: 100})
    crowd = world.World(
        seed=frame.options.seed + 1, people=max(crowds) + 100, posts=200,
        readers={2: max(crowds)}, ending=network.now / 1000 - 3600)
    authors = {}
    for size in crowds:
        # Nobody knows them but those who shall.
        author = next(p for p in crowd.people
                      if p not in crowd.followers and p not in authors.values() and p not in crowd.groups[2])
        crowd.follow_everybody(author, crowd.groups[2][:size])
        authors[size] = author
    cluster = BenchCluster(frame)
    say(f"writing {len(network.people) + len(crowd.people)} people")
    tokens = world.settle_in(cluster, network)
    crowd_tokens = world.settle_in(cluster, crowd, [*crowd.groups[2], *authors.values()])
    cluster.rest()
    peer = SQLFeed(frame, crowd)
    reads(frame, cluster, network, tokens)
    for size, author in authors.items():
        visible(frame, cluster, peer, crowd_tokens, author, crowd.groups[2][:size])


def reads(frame, cluster, network, tokens):
    generator, taken = Generator(frame), {}
    for _ in range(frame.options.rounds):
        for name, messages in (
                ("tessera", [first(token) for token in tokens.values()]),
                ("tessera-hydrated", [hydrated(token) for token in tokens.values()])):
            taken.setdefault(name, []).append(
                of_cluster(frame, generator, cluster, plan_of(messages)))
    for peer, (cpu_ms, rps) in PEERS.items():
        frame.emit("home-peer", peer, None, "cpu_us", [cpu_ms * 1000])
        frame.emit("home-peer", peer, None, "rps", [rps])
        frame.emit("home-peer", peer, None, "reads_per_cpu_second", [1000 / cpu_ms])
    for name, rounds in taken.items():
        for metric in rounds[0]:
            frame.emit("home-peer", name, None, metric, [one[metric] for one in rounds])
        for peer, (cpu_ms, rps) in PEERS.items():
            mine = [1e6 / one["cpu_us"] for one in rounds]
            frame.emit("home-peer", name, peer, "reads_per_cpu_second", mine, [1000 / cpu_ms] * len(mine))
            frame.emit("home-peer", name, peer, "rps", [one["rps"] for one in rounds], [rps] * len(mine))


def visible(frame, cluster, peer, tokens, author, followers):
    """Seconds from sending a post to everybody seeing it."""
    writer = Caller(cluster.port, tokens[author])
    looking = [Caller(cluster.port, tokens[reader]) for reader in followers[::len(followers) // LOOKING]]
    entries, taken, inserted = Entries(cluster), [], []
    for _ in range(frame.options.rounds + 1):
        inserted.append(peer.publish_seconds(
            author, int(time.time() * 1000) << 16 | world.bucket_of(author) << 6))
        for reader in looking:
            reader.home()
        began = time.monotonic()
        post = writer.publish("a post that many wait for", fresh_key())
        entries.wait(post, len(followers))
        for reader in looking:
            while post not in reader.home():
                time.sleep(0.002)
        taken.append(time.monotonic() - began)
    entries.close()
    size = len(followers)
    ours, simple = f"tessera-{size}-followers", f"sql-on-write-{size}-followers"
    frame.emit("home-peer", simple, None, "visible_s", inserted[1:])
    frame.emit("home-peer", ours, simple, "visible_s", taken[1:], inserted[1:])
    if size in PEER_VISIBLE_S:
        seconds, measured = PEER_VISIBLE_S[size], f"gotosocial-{size}-followers"
        frame.emit("home-peer", measured, None, "visible_s", [seconds])
        frame.emit("home-peer", ours, measured, "visible_s", taken[1:], [seconds] * (len(taken) - 1))
