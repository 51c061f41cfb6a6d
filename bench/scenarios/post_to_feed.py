"""From sending a post to a follower seeing it, at half of the rate that fan-out can keep up with.

200 authors with 1,000 followers each, on four shards. The limit is taken first: so many posts at once that their delivery
takes seconds, entries divided by the time until the last is there. Then posts arrive at half of that, by an open loop,
and one connection watches the entries of every post for one follower who is drawn at random.

The floor of the same run is what no design with these guarantees is without: a commit of the post, a lease that is committed,
an insert of as many entries into as many shards, committed, and two round trips of HTTP, all on an idle machine.
"""
import random
import re
import statistics
import subprocess
import time

from frame import Unavailable
from suite import world
from suite.cluster import BenchCluster, say
from suite.load import Generator, Plan, request
from suite.mixing import fresh_key
from suite.watching import Caller, Deliveries, Prompt

ROUNDS, SECONDS, QUICK_SECONDS = 3, 15, 5
AUTHORS, FOLLOWERS = 200, 1_000
BURST = 400
PUBLISHERS = 16
POLL_SECONDS = 0.001
LAST_SECONDS = 60
GOALS = [{"text": "Post to feed at half of the fan-out limit: p99 beside the floor", "variant": "tessera",
          "metric": "p99_ms", "peer": "floor", "most": 10}]


def run(frame):
    quick = frame.options.quick
    authors, followers = (20, 100) if quick else (AUTHORS, FOLLOWERS)
    network = world.World(seed=frame.options.seed, people=2 * (authors + followers), posts=1_000,
                          readers={1: followers})
    strangers = [p for p in network.people if p not in network.followers and p not in network.following]
    writers = strangers[:authors]
    for author in writers:
        network.follow_everybody(author, network.readers)
    cluster = BenchCluster(frame)
    tokens = world.settle_in(cluster, network, [*network.readers, *writers])
    cluster.rest()
    taken = {name: [] for name in ("limit", "floor", "p50", "p99", "answer99")}
    for number in range(frame.options.rounds):
        limit = limit_of(frame, cluster, [tokens[w] for w in writers], 50 if quick else BURST, number)
        floor = floor_ms(frame, cluster, tokens[writers[0]], followers)
        seen, answered = at_rate(frame, cluster, tokens, writers, network.readers, limit / 2, number)
        taken["limit"].append(limit * followers)
        taken["floor"].append(floor)
        taken["p50"].append(percentile(seen, 0.5))
        taken["p99"].append(percentile(seen, 0.99))
        taken["answer99"].append(answered.all.latency.milliseconds(0.99))
    frame.emit("post-to-feed", "fan-out-limit", None, "entries_s", taken["limit"])
    frame.emit("post-to-feed", "floor", None, "latency_ms", taken["floor"])
    for metric in ("p50", "p99"):
        frame.emit("post-to-feed", "tessera", "floor", f"{metric}_ms", taken[metric], taken["floor"])
    frame.emit("post-to-feed", "until-answered", None, "p99_ms", taken["answer99"])


def compose(token, text):
    return request("POST", "/api/v1/statuses", token, {"status": text}, fresh_key())


def limit_of(frame, cluster, tokens, posts, number):
    """Posts a second that the fan-out delivers when there are always more."""
    plan = Plan(["compose"])
    for post in range(posts):
        plan.due(0, plan.add("compose", compose(tokens[post % len(tokens)], f"burst {number} {post}")))
    deliveries = Deliveries(cluster)
    deliveries.wait()
    began = time.monotonic()
    Generator(frame).open(cluster.port, plan, connections=PUBLISHERS).wait().refuse_errors("the node")
    deliveries.wait()
    seconds = time.monotonic() - began
    deliveries.close()
    return posts / seconds


def at_rate(frame, cluster, tokens, writers, readers, rate, number):
    """Milliseconds from when each post was due until one follower on each shard had its entry; and the answers."""
    chooser = random.Random(1_000 + number)
    plan, due = Plan(["compose"]), []
    at = chooser.expovariate(rate)
    while at < frame.options.seconds:
        text = f"paced {number} {len(due)}"
        plan.due(at, plan.add("compose", compose(tokens[chooser.choice(writers)], text)))
        due.append(at)
        at += chooser.expovariate(rate)
    watched = [chooser.choice([r for r in readers if cluster.owners[world.bucket_of(r)] == shard])
               for shard in cluster.shards]
    seen, measured = watch(
        cluster, watched, lambda: Generator(frame).open(cluster.port, plan), len(due))
    began_ms = (measured.start + time.time() - time.monotonic()) * 1000
    numbers = {}
    for shard in cluster.shards:
        for line in cluster.site.sql(
                shard, f"SELECT id, text FROM posts.post WHERE text LIKE 'paced {number} %'").splitlines():
            post, text = line.split("|")
            numbers[int(post)] = int(text.rpartition(" ")[2])
    return [at_ms - began_ms - due[numbers[post]] * 1000
            for entries in seen for post, at_ms in entries.items() if post in numbers], measured


def watch(cluster, readers, begin, posts):
    """When each entry was there, by the shard's clock: post -> milliseconds, for each of the readers."""
    prompts = [Prompt(cluster, shard) for shard in cluster.shards]
    columns = "coalesce(array_agg(post_id), '{}'), extract(epoch FROM clock_timestamp())"
    wheres = [f"bucket = {world.bucket_of(reader)} AND reader = {reader}" for reader in readers]
    known = [set(_posts(prompt.ask(f"SELECT {columns} FROM feed.entry WHERE {where}"))[0])
             for prompt, where in zip(prompts, wheres)]
    floors, seen = [max(posts, default=0) for posts in known], [{} for _ in readers]
    # What is there before the first post is sent is none of these.
    running, deadline, measured = begin(), None, None
    while any(len(entries) < posts for entries in seen):
        for prompt, where, floor, entries in zip(prompts, wheres, floors, seen):
            found, now = _posts(prompt.ask(
                f"SELECT {columns} FROM feed.entry WHERE {where} AND post_id > {floor}"))
            for post in found:
                entries.setdefault(post, now * 1000)
        if measured is None and running.process.poll() is not None:
            measured = running.wait().refuse_errors("the node")
            deadline = time.monotonic() + LAST_SECONDS
        if deadline and time.monotonic() > deadline:
            counts = ", ".join(str(len(entries)) for entries in seen)
            raise Unavailable(f"after {LAST_SECONDS} s {counts} of {posts} entries were there;"
                              f" {cluster.outbox()} effects wait")
        time.sleep(POLL_SECONDS)
    for prompt in prompts:
        prompt.close()
    return seen, measured or running.wait().refuse_errors("the node")


def _posts(line):
    found, now = line.split("|")
    return list(map(int, re.findall(r"\d+", found))), float(now)


# MARK: The floor

def floor_ms(frame, cluster, token, followers):
    """Commit, lease, insert and two round trips, each the median of many, one after the other on an idle cluster."""
    shares = followers // len(cluster.shards)
    commit = transaction_ms(frame, cluster, "commit", "SELECT pg_logical_emit_message(true, 'bench', 'a post');")
    insert = transaction_ms(frame, cluster, "insert", f"""
        INSERT INTO bench_floor SELECT 1, (random() * 1e9)::bigint << 10 | i, i, 7
        FROM generate_series(1, {shares}) AS i ON CONFLICT DO NOTHING;""")
    caller, trips = Caller(cluster.port, token), []
    for _ in range(200):
        began = time.perf_counter()
        caller.call("GET", "/api/v1/instance")
        trips.append((time.perf_counter() - began) * 1000)
    # The lease is a commit of its own; inserts into several shards go on at the same time.
    return 2 * commit + insert + 2 * statistics.median(trips)


def transaction_ms(frame, cluster, name, text):
    """Average of one statement in a transaction of its own on the first shard, by pgbench."""
    shard = cluster.shards[0]
    cluster.site.sql(shard, "CREATE TABLE IF NOT EXISTS public.bench_floor (b smallint, reader bigint, post bigint,"
                     " author bigint, PRIMARY KEY (b, reader, post))")
    script = frame.folder / f"{name}.sql"
    script.write_text(text)
    command = cluster.site.psql_command(shard)
    out = subprocess.run(
        ["/usr/lib/postgresql/15/bin/pgbench", "-n", "-c1", "-T2", "-f", str(script), *command[1:-2], command[-1]],
        capture_output=True, text=True, env=cluster.site.environment)
    cluster.site.sql(shard, "DROP TABLE public.bench_floor")
    found = re.search(r"latency average = ([\d.]+)", out.stdout)
    if not found:
        raise Unavailable(f"pgbench: {out.stderr.strip()[-300:]}")
    return float(found.group(1))


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
