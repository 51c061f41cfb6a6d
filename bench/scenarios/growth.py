"""What one request costs as shards are added: CPU of node, PostgreSQL and memcached, at 1, 2, 4, 8 and 16 shards.

Each number of shards is a cluster of its own with the same world in it, one after the other (all at once would take
the machine from each other); each kind of request is sent by itself at the same constant rate, so that batches are
equally full. What the cluster uses when nobody asks (looks for effects, for withdrawals, for news of the map) is
measured before and not charged to the requests; it stands in the rows `idle`, as milliseconds of CPU a second.

`cached-home` is a first page, `one-bucket` a profile, both of which ask one shard at most; `hydrated-home` is the same
page made anew, whose posts are on all shards; `compose` is a post with its effects. Readers follow 50 of 5,000 people.
How the cost grows with follows is for `home-reads` to say.
"""
from frame import Unavailable
from suite import worlds
from suite.accounting import OF_A_REQUEST
from suite.load import Generator, request
from suite.mixing import Mix, idle_cost, measure_at

from .home_reads import first, hydrated

ROUNDS, SECONDS = 5, 4
RATE = {"cached-home": 500, "one-bucket": 500, "hydrated-home": 200, "compose": 60}
IDLE_SECONDS = 8
SHARDS = (1, 2, 4, 8, 16)
COMPARED = ("cpu_us", "node_cpu_us")
METRICS = (*COMPARED, "postgres_cpu_us", "memcached_cpu_us", "p50_ms", "p99_ms")
GOALS = [
    {"text": f"CPU of the app node for one {kind} request, 16 shards beside 1", "variant": f"{kind}@16",
     "metric": "node_cpu_us", "peer": f"{kind}@1", "most": 1.1} for kind in ("cached-home", "one-bucket")]
PLOTS = [{"title": "CPU of one request against shards", "x": "shards", "y": "µs", "metrics": ["cpu_us"],
          "log_x": True, "log": True, "series": list(RATE)},
         {"title": "CPU of the app node for one request against shards", "x": "shards", "y": "µs",
          "metrics": ["node_cpu_us"], "log_x": True, "log": True, "series": list(RATE)}]


def run(frame):
    taken = {}
    for shards in SHARDS[:3] if frame.options.quick else SHARDS:
        try:
            cluster, actions = worlds.small(frame, shards)
        except Unavailable as reason:
            frame.note("growth", f"{shards} shards could not be measured", str(reason))
            continue
        generator, seeds = Generator(frame), iter(range(1, 1_000_000))
        kinds = mixes_of(actions)
        for kind in kinds:
            measure_at(generator, cluster, kinds[kind], RATE[kind], 1, next(seeds))
        cluster.settle()
        idle = idle_cost(cluster, 2 if frame.options.quick else IDLE_SECONDS)
        for group in OF_A_REQUEST:
            frame.emit("growth", f"idle@{shards}", None, f"{group}_ms_s", [idle[group] * 1000])
        for _ in range(frame.options.rounds):
            for kind in frame.random.sample(list(kinds), len(kinds)):
                figures = measure_at(
                    generator, cluster, kinds[kind], RATE[kind], frame.options.seconds, next(seeds), idle)
                if figures["errors"]:
                    raise Unavailable(f"{figures['errors']} errors of {kind} on {shards} shards")
                taken.setdefault((kind, shards), []).append(figures)
        cluster.close()
    for kind in RATE:
        one = taken.get((kind, SHARDS[0]))
        for shards in SHARDS:
            if (kind, shards) not in taken:
                continue
            rounds = taken[kind, shards]
            beside = one if shards > SHARDS[0] else None
            for metric in METRICS:
                compared = beside and metric in COMPARED
                frame.emit("growth", f"{kind}@{shards}", f"{kind}@{SHARDS[0]}" if compared else None, metric,
                           [figures[metric] for figures in rounds],
                           [figures[metric] for figures in one] if compared else None)


def mixes_of(actions):
    tokens = actions.tokens

    def own_profile(random):
        reader = random.choice(actions.readers)
        return request("GET", f"/api/v1/accounts/{reader}", tokens[reader])

    return {
        "cached-home": Mix(home=(1, lambda random: first(actions.anybody(random)))),
        "one-bucket": Mix(profile=(1, own_profile)),
        "hydrated-home": Mix(home=(1, lambda random: hydrated(actions.anybody(random)))),
        "compose": Mix(compose=(1, actions.compose)),
    }
