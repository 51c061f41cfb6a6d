"""Moving buckets between shards of the cluster that runs, or of one of its own, one at a time, under an open-loop load.

The pause of a move is the longest that a write into its bucket waited, counted from when it was due; the bucket is
written 50 times a second for this. Beside it, in the same run: the same while nothing moves; the other buckets' p99
with and without a move under way; and the copy of a large bucket beside `pg_dump | psql` of the same rows.
"""
import asyncio
import json
import os
import random
import subprocess
import sys
import time

from frame import BENCH, Unavailable

sys.path.insert(0, str(BENCH))

from open_loop import report  # noqa: E402
from open_loop.check import check  # noqa: E402
from open_loop.client import Client, Failed  # noqa: E402
from open_loop.load import Load, Overrun  # noqa: E402
from open_loop.people import sign_up  # noqa: E402
from open_loop.site import Cluster, Journal, Unanswered  # noqa: E402
from suite.cluster import home_of  # noqa: E402

ROUNDS = 100
PEOPLE = 40
FOLLOWS = 4
RATE = 100
WATCHED_RATE = 50
# Between two moves the bucket is watched for as long as a move takes, within these bounds.
QUIET_SECONDS = (1.0, 4.0)
COPY_ROUNDS = 3
COPY_READERS, COPY_POSTS = 1_500, 200
COPY_DATABASE = "tessera_bench_copy"


def run(frame):
    try:
        asyncio.run(_run(frame))
    except (Unanswered, Failed, Overrun) as error:
        raise Unavailable(str(error)) from None


async def _run(frame):
    cluster = Cluster(home_of(frame, app_nodes=2, workers=2))
    if not cluster.leader():
        raise Unavailable("no coordinator leads; cluster/status shows what runs")
    client = Client(cluster.http_port)
    people = await sign_up(client, PEOPLE, FOLLOWS)
    load = Load(people, RATE, frame.options.seed)
    load.focus, load.focus_rate = [people[0]], WATCHED_RATE
    running = asyncio.create_task(load.run())
    chooser = random.Random(frame.options.seed)
    try:
        with Journal(cluster) as journal:
            moves = await _moves(frame, cluster, load, people, chooser, journal)
            copies = await _copies(cluster, people[0].bucket, chooser, journal)
    finally:
        load.stop()
        await running
    _print_pauses(frame, load, moves)
    _print_copies(frame, copies)
    verdict = await check(people)
    client.close()
    found = {"errors": len(load.errors), "stale": len(load.stale), **verdict.counts()}
    for metric, count in found.items():
        frame.emit("move", "history", None, metric, [count])
    if load.errors or load.stale or not verdict.clean:
        examples = [e["error"] for e in load.errors] + load.stale + verdict.examples()
        raise Unavailable("the load was hurt: " + "; ".join(examples[:5]))


async def _apply(cluster, plan):
    """Runs one plan to its end; the move as shardctl tells it."""
    command = await asyncio.create_subprocess_exec(
        *cluster.command("apply", "--plan", plan, "--wait", "--yes", "--json"),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    out, err = await command.communicate()
    os.unlink(plan)
    if command.returncode:
        raise Unavailable(f"shardctl apply: {err.decode().strip()[-300:]}")
    return json.loads(out)["moves"][0]


async def _one_move(cluster, owners, bucket, chooser, journal):
    source = owners[bucket]
    target = chooser.choice([shard for shard in cluster.shards() if shard != source])
    began = time.monotonic()
    move = await _apply(cluster, cluster.plan_file(source, target, [bucket]))
    owners[bucket] = target
    times = journal.times(move["id"])
    return {"bucket": bucket, "began": times.get("planned", began),
            "ended": max(times.values(), default=time.monotonic()), "times": times, **move}


async def _moves(frame, cluster, load, people, chooser, journal):
    """Each move with the quiet time before it."""
    owners, moves, quiet = cluster.owners(), [], QUIET_SECONDS[0]
    for number in range(frame.options.rounds):
        person = chooser.choice(people)
        load.focus = [person]
        # Answers of the bucket before are still on their way.
        await asyncio.sleep(0.2)
        calm = time.monotonic()
        await asyncio.sleep(quiet)
        move = await _one_move(cluster, owners, person.bucket, chooser, journal)
        moves.append({"calm": (calm, calm + quiet), **move})
        length = move["ended"] - move["began"]
        quiet = min(max(length, QUIET_SECONDS[0]), QUIET_SECONDS[1])
        print(f"\rmove {number + 1} of {frame.options.rounds}: {length:.2f} s ", end="",
              file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return moves


def _print_pauses(frame, load, moves):
    def waits(bucket, window):
        return report.milliseconds(
            load.done, watched=True,
            where=lambda b, due: b == bucket and window[0] <= due < window[1])

    spans = [(m["began"], m["ended"]) for m in moves]
    calms = [m["calm"] for m in moves]
    for variant, windows in (("moving-bucket", spans), ("same-bucket-unmoved", calms)):
        worst = [max(found) for m, window in zip(moves, windows)
                 if (found := waits(m["bucket"], window))]
        for name, share in (("pause_p50_ms", 0.5), ("pause_p99_ms", 0.99), ("pause_max_ms", 1.0)):
            frame.emit("move", variant, None, name, [report.percentile(worst, share)])
    told = [m["pause_milliseconds"] for m in moves if m.get("pause_milliseconds") is not None]
    if told:
        for name, share in (("fenced_p50_ms", 0.5), ("fenced_p99_ms", 0.99), ("fenced_max_ms", 1.0)):
            frame.emit("move", "coordinator", None, name, [report.percentile(told, share)])
    frame.emit("move", "coordinator", None, "seconds", [b - a for a, b in spans])

    def others(windows):
        return report.milliseconds(
            load.done, watched=False,
            where=lambda b, due: any(
                w[0] <= due < w[1] and b != m["bucket"] for w, m in zip(windows, moves)))

    during, without = others(spans), others(calms)
    for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99)):
        frame.emit("move", "other-buckets", "other-buckets-unmoved", name,
                   [report.percentile(during, share)], [report.percentile(without, share)])
        frame.emit("move", "other-buckets-unmoved", None, name,
                   [report.percentile(without, share)])


# MARK: Copying

async def _copies(cluster, bucket, chooser, journal):
    """(rows, seconds of the mover, seconds of pg_dump | psql), each round between other shards."""
    rows, owners, rounds = COPY_READERS * COPY_POSTS, cluster.owners(), []
    cluster.sql(owners[bucket], _fill("feed.entry", bucket))
    try:
        for _ in range(COPY_ROUNDS):
            source = owners[bucket]
            move = await _one_move(cluster, owners, bucket, chooser, journal)
            times = move["times"]
            if "copying" not in times or "catchingUp" not in times:
                raise Unavailable("the journal was not seen while the bucket was copied")
            dumped = await asyncio.to_thread(_dump, cluster, bucket, source, owners[bucket])
            rounds.append((rows, times["catchingUp"] - times["copying"], dumped))
    finally:
        cluster.sql(owners[bucket], f"DELETE FROM feed.entry WHERE bucket = {bucket}"
                    f" AND reader < {COPY_READERS + 1 << 16}")
    return rounds


def _fill(table, bucket):
    """Readers whom nobody is: nothing else looks at these rows."""
    return f"""INSERT INTO {table} (bucket, reader, post_id, author)
        SELECT {bucket}, (r::bigint << 16) | ({bucket} << 6), p, {bucket} << 6
        FROM generate_series(1, {COPY_READERS}) AS r, generate_series(1, {COPY_POSTS}) AS p;"""


def _dump(cluster, bucket, source, target):
    """Seconds of pg_dump | psql of the same rows into the same table in databases of their own."""
    drop = f"DROP DATABASE IF EXISTS {COPY_DATABASE}"
    try:
        for shard in (source, target):
            cluster.sql(shard, drop)
            cluster.sql(shard, f"CREATE DATABASE {COPY_DATABASE}")
            cluster.sql(shard, "CREATE SCHEMA feed; CREATE TABLE feed.entry (bucket smallint NOT NULL,"
                        " reader bigint NOT NULL, post_id bigint NOT NULL, author bigint NOT NULL,"
                        " PRIMARY KEY (bucket, reader, post_id))", COPY_DATABASE)
        cluster.sql(source, _fill("feed.entry", bucket), COPY_DATABASE)
        shape = cluster.psql_command(source, COPY_DATABASE, "pg_dump")
        began = time.monotonic()
        dump = subprocess.Popen([*shape, "-a", "-t", "feed.entry"], stdout=subprocess.PIPE,
                                env=cluster.environment)
        subprocess.run([*cluster.psql_command(target, COPY_DATABASE), "-Xq", "-f", "-"],
                       stdin=dump.stdout, stdout=subprocess.DEVNULL, env=cluster.environment,
                       check=True)
        if dump.wait():
            raise Unavailable("pg_dump failed")
        return time.monotonic() - began
    finally:
        for shard in (source, target):
            cluster.sql(shard, drop)


def _print_copies(frame, rounds):
    mover = [rows / seconds for rows, seconds, _ in rounds]
    dump = [rows / seconds for rows, _, seconds in rounds]
    frame.emit("move", "copy", "pg_dump-psql", "rows_s", mover, dump)
    frame.emit("move", "pg_dump-psql", None, "rows_s", dump)
