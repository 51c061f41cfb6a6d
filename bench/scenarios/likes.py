"""Likes of one post on the cluster that runs, or on one of its own: what they cost others, and how many a shard takes.

First on a database of its own, on the server of one shard: likes a second as the product writes them (fence, like,
appended change, effect for the liker's own list, in one transaction), beside the same three rows without fence, guards
or conditions (the raw limit), and beside counting by `UPDATE … SET amount = amount + 1` of one row, which is what
appending is for.

Then through the whole cluster: requests of others at a fixed rate, while nobody likes, while many posts are liked, and
while one post gets as many likes. Latencies count from when a request was due. At the end every count must be exact.
"""
import asyncio
import os
import pathlib
import random
import re
import shlex
import subprocess
import time

from frame import ROOT, Unavailable
from open_loop import report
from open_loop.client import Client, Failed
from open_loop.people import sign_up
from open_loop.site import Cluster, Unanswered
from suite.cluster import home_of

ROUNDS = 3
SECONDS = 5
LIKERS, OTHERS = 48, 12
OTHERS_RATE = 60
# Each connection waits so long between two likes; together they like at about the rate that is asked for.
CONNECTIONS, PAUSE_MS = 64, int(os.environ.get("LIKES_PAUSE_MS", "30"))
SPREAD_POSTS = 40
DATABASE = "tessera_bench_likes"
SESSIONS = 16
BUCKET, POST = 77, (1_700_000_000_000 << 16) | (77 << 6)
MODULES = ("Storage/Database", "Storage/Counters", "Storage/Jobs", "Services/Posts")


def run(frame):
    try:
        cluster = Cluster(home_of(frame))
        _statements(frame, cluster)
        asyncio.run(_cluster(frame, cluster))
    except (Unanswered, Failed) as error:
        raise Unavailable(str(error)) from None


# MARK: One shard

LIKE = f"""
INSERT INTO {{favourite}} AS f (bucket, post, actor, id)
VALUES ({BUCKET}, {POST}, :actor, control.next_id({BUCKET}::smallint))
"""
COUNT = f"INSERT INTO {{delta}} (bucket, subject, kind, amount) SELECT {BUCKET}, {POST}, 1, 1"
MIRROR = f"""
INSERT INTO {{outbox}} (bucket, id, kind, version, payload)
SELECT {BUCKET}, control.next_id({BUCKET}::smallint), 'posts.favourite', 1,
    jsonb_build_object('actor', :actor::text, 'post', '{POST}')
"""
FENCE = f"SELECT control.fence(ARRAY[{BUCKET}::smallint], ARRAY[1::bigint]);"
ONCE = "ON CONFLICT (bucket, post, actor) DO UPDATE SET active = true WHERE NOT f.active"
OURS = {"favourite": "posts.favourite", "delta": "counters.delta", "outbox": "jobs.outbox"}
RAW = {"favourite": "raw_favourite", "delta": "raw_delta", "outbox": "raw_outbox"}


def _appended(count):
    return f"""{FENCE}
        WITH changed AS ({LIKE.format(**OURS)} {ONCE} RETURNING actor),
        counted AS ({count} EXISTS (SELECT FROM changed)),
        mirrored AS ({MIRROR.format(**OURS)} WHERE EXISTS (SELECT FROM changed))
        SELECT actor FROM changed;"""


VARIANTS = {
    "append": _appended(COUNT.format(**OURS) + " WHERE"),
    "raw-insert": ";\n".join(part.format(**RAW) for part in (LIKE, COUNT, MIRROR)) + ";",
    "update-one-row": _appended(
        f"UPDATE counters.total SET amount = amount + 1 WHERE subject = {POST} AND"),
}


def _statements(frame, cluster):
    shard = cluster.shards()[0]
    cluster.sql(shard, f"DROP DATABASE IF EXISTS {DATABASE}")
    cluster.sql(shard, f"CREATE DATABASE {DATABASE}")
    try:
        for module in MODULES:
            for file in sorted((ROOT / "Sources" / module / "Migrations").glob("*.sql")):
                cluster.sql(shard, file.read_text(encoding="utf-8"), DATABASE)
        cluster.sql(shard, f"""
            SELECT control.guard_tables();
            INSERT INTO control.bucket_owner VALUES ({BUCKET}, 1, 'own');
            INSERT INTO counters.total VALUES ({BUCKET}, {POST}, 1, 0);
            CREATE TABLE raw_favourite (LIKE posts.favourite INCLUDING ALL);
            CREATE TABLE raw_delta (LIKE counters.delta INCLUDING ALL);
            CREATE TABLE raw_outbox (LIKE jobs.outbox INCLUDING ALL)""", DATABASE)
        frame.rounds(
            "likes", {name: lambda n=name: _pgbench(frame, cluster, shard, n) for name in VARIANTS},
            ["raw-insert"])
    finally:
        cluster.sql(shard, f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")


def _pgbench(frame, cluster, shard, name):
    script = frame.folder / f"{name}.sql"
    script.write_text("\\set actor random(1, 1000000000000)\n\\startpipeline\nBEGIN;\n"
                      + VARIANTS[name].replace("\n", " ").replace("; ", ";\n")
                      + "\nCOMMIT;\n\\endpipeline\n")
    program = next(iter(pathlib.Path("/usr/lib/postgresql").glob("*/bin/pgbench")), None)
    if not program:
        raise Unavailable("pgbench is missing; install it with: apt-get install postgresql-15")
    out = subprocess.run(
        [*cluster.psql_command(shard, DATABASE, str(program)), "-n", "-M", "extended",
         f"-c{SESSIONS}", "-j1", f"-T{frame.options.seconds}", "-f", str(script)],
        capture_output=True, text=True, env=cluster.environment)
    found = re.search(r"tps = ([\d.]+)", out.stdout)
    if out.returncode or not found:
        raise Unavailable(f"pgbench: {out.stderr.strip()[-300:]}")
    return {"likes_s": float(found.group(1))}


# MARK: The cluster

async def _cluster(frame, cluster):
    client = Client(cluster.http_port)
    people = await sign_up(client, LIKERS + OTHERS, 3)
    likers, others = people[:LIKERS], people[LIKERS:]
    posts = [await others[n % OTHERS].publish(f"liked {n}") for n in range(SPREAD_POSTS)]
    watched = [await others[n].publish(f"watched {n}") for n in range(OTHERS)]
    loads = {"quiet": [], "spread": posts, "post": posts[:1]}
    taken = {name: [] for name in loads}
    chooser = random.Random(frame.options.seed)
    seconds = max(frame.options.seconds, SECONDS)
    await _measure(frame, cluster, likers, others, posts, watched, 2)
    for _ in range(frame.options.rounds):
        for name in chooser.sample(list(loads), len(loads)):
            taken[name].append(
                await _measure(frame, cluster, likers, others, loads[name], watched, seconds))
    client.close()
    _print(frame, taken)
    await _check(cluster, posts)


async def _measure(frame, cluster, likers, others, posts, watched, seconds):
    """p50 and p99 of others in milliseconds, and likes a second meanwhile."""
    wrk = None
    if posts:
        script = frame.folder / "likes.lua"
        script.write_text(_lua([p.token for p in likers], posts))
        wrk = await asyncio.create_subprocess_exec(
            frame.tool("wrk", "wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{seconds + 1}s", "-s",
            str(script), f"http://127.0.0.1:{cluster.http_port}", stdout=asyncio.subprocess.PIPE)
        await asyncio.sleep(0.5)
    times = await _others(others, watched, seconds)
    likes = 0.0
    if wrk:
        out = (await wrk.communicate())[0].decode()
        if re.search(r"Non-2xx|Socket errors", out):
            raise Unavailable(f"likes were answered with errors:\n{out}")
        likes = float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))
    return {"p50_ms": report.percentile(times, 0.5), "p99_ms": report.percentile(times, 0.99),
            "likes_s": likes}


async def _others(others, watched, seconds):
    """Reads and writes of people who have nothing to do with the likes, at a fixed rate."""
    times, tasks, began = [], [], time.monotonic()

    async def one(number, due):
        person = others[number % len(others)]
        paths = ("/api/v1/timelines/home", f"/api/v1/statuses/{watched[number % len(watched)]}")
        if number % 4 == 3:
            await person.call("POST", f"/api/v1/statuses/{watched[number % len(watched)]}/bookmark")
        else:
            await person.call("GET", paths[number % 2])
        times.append((time.monotonic() - due) * 1000)

    for number in range(int(seconds * OTHERS_RATE)):
        due = began + number / OTHERS_RATE
        await asyncio.sleep(max(0, due - time.monotonic()))
        tasks.append(asyncio.create_task(one(number, due)))
    await asyncio.gather(*tasks)
    return times


def _lua(tokens, posts):
    """Everybody likes every post and takes it back again, in turn."""
    return f"""
local tokens = {{{", ".join(f'"{t}"' for t in tokens)}}}
local posts = {{{", ".join(f'"{p}"' for p in posts)}}}
local n = math.random(0, 1000000)
function delay() return {PAUSE_MS} end
function request()
    n = n + 1
    local round = math.floor(n / #tokens)
    local verb = math.floor(round / #posts) % 2 == 0 and "favourite" or "unfavourite"
    local path = "/api/v1/statuses/" .. posts[round % #posts + 1] .. "/" .. verb
    return wrk.format("POST", path, {{
        ["Authorization"] = "Bearer " .. tokens[n % #tokens + 1], ["Content-Length"] = "0"}}, "")
end
"""


def _print(frame, taken):
    def emit(name, peer, metric, variant):
        frame.emit("likes", variant, peer and f"{variant.split('-')[0]}-{peer}", metric,
                   [row[metric] for row in taken[name]],
                   [row[metric] for row in taken[peer]] if peer else None)

    for name, peers in (("quiet", [None]), ("spread", ["quiet"]), ("post", ["spread", "quiet"])):
        for peer in peers:
            for metric in ("p50_ms", "p99_ms"):
                emit(name, peer, metric, f"others-{name}")
    for name, peer in (("spread", None), ("post", "spread")):
        emit(name, peer, "likes_s", f"likes-{name}")


async def _check(cluster, posts):
    """Counts are exact once the workers have folded what was appended."""
    command = cluster.command("reconcile", *posts)
    run = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out = (await run.communicate())[0].decode()
    if run.returncode:
        raise Unavailable(f"{shlex.join(command[1:3])} …: {out.strip()}")
