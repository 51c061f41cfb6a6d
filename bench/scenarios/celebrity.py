"""An author with a million followers on the cluster that runs, or on one of its own: what posting costs, and who notices.

The followers are written into the author's mirror directly, since signing them up would take hours; a few real ones
follow through the API. Measured beside an author with those few only: until a follower's home timeline shows a post,
and how long publishing, reading the profile, liking and deleting take; then home reads of others at a fixed rate, with
and without the celebrity posting meanwhile. No post may become a row or an effect for each follower.
"""
import asyncio
import os
import random
import time

from frame import Unavailable
from open_loop import report
from open_loop.client import Client, Failed
from open_loop.people import sign_up
from open_loop.site import Cluster, Unanswered
from suite.cluster import home_of

ROUNDS = 5
FOLLOWERS = int(os.environ.get("CELEBRITY_FOLLOWERS", "1000000"))
# The first id of seeded followers, by its milliseconds; real ones are far above.
SEEDED = 1_000
READERS = 8
OTHERS, OTHERS_RATE, SECONDS = 8, 60, 4
POSTS_PER_SECOND = 4
VISIBLE_WITHIN = 10.0


def run(frame):
    try:
        asyncio.run(_run(frame, Cluster(home_of(frame))))
    except (Unanswered, Failed) as error:
        raise Unavailable(str(error)) from None


async def _run(frame, cluster):
    client = Client(cluster.http_port)
    people = await sign_up(client, 2 + READERS + OTHERS, 2)
    celebrity, ordinary = people[:2]
    readers, others = people[2:2 + READERS], people[2 + READERS:]
    for reader in readers:
        for author in (celebrity, ordinary):
            await reader.call("POST", f"/api/v1/accounts/{author.id}/follow")
    shard = cluster.owners()[celebrity.bucket]
    try:
        _seed(cluster, shard, celebrity)
        # App nodes ask each second who is merged.
        await asyncio.sleep(2)
        first = await celebrity.publish("hello, million")
        await _measure(frame, celebrity, ordinary, readers, others)
        _check(cluster, celebrity, first)
    finally:
        cluster.sql(shard, f"""
            DELETE FROM graph.follower WHERE bucket = {celebrity.bucket}
                AND followed = {celebrity.id} AND follower < {(SEEDED + FOLLOWERS // 1024 + 1) << 16};
            INSERT INTO counters.delta (bucket, subject, kind, amount)
            VALUES ({celebrity.bucket}, {celebrity.id}, 10, -{FOLLOWERS})""")
        client.close()


def _seed(cluster, shard, author):
    """Followers whom nobody is, spread over all buckets, who came within the last hour; the author has been merged
    for two."""
    cluster.sql(shard, f"""
        INSERT INTO graph.follower
            (bucket, followed, follower_bucket, follower, id, version, active)
        SELECT {author.bucket}, {author.id}, b,
            (({SEEDED} + n / 1024)::bigint << 16) | (b << 6),
            ((floor(extract(epoch FROM now()) * 1000)::bigint - 3600000 + n) << 16) | (b << 6),
            1, true
        FROM (SELECT n, n % 1024 AS b FROM generate_series(1, {FOLLOWERS}) AS n) AS f
        ORDER BY b, n;
        INSERT INTO counters.delta (bucket, subject, kind, amount)
        VALUES ({author.bucket}, {author.id}, 10, {FOLLOWERS});
        INSERT INTO feed.pull_author (bucket, author, followers, since)
        VALUES ({author.bucket}, {author.id}, 10001, now() - interval '2 hours');
        ANALYZE graph.follower""")


async def _measure(frame, celebrity, ordinary, readers, others):
    taken = {name: [] for name in ("celebrity", "ordinary")}
    calm, busy = [], []
    chooser = random.Random(frame.options.seed)
    for _ in range(frame.options.rounds):
        pairs = [("celebrity", celebrity), ("ordinary", ordinary)]
        for name, author in chooser.sample(pairs, 2):
            taken[name].append(await _one_post(author, readers))
        for target in chooser.sample([calm, busy], 2):
            posting = asyncio.create_task(_post(celebrity)) if target is busy else None
            target.append(await _home_reads(others))
            if posting:
                posting.cancel()
                await asyncio.gather(posting, return_exceptions=True)
    for metric in taken["celebrity"][0]:
        for name, peer in (("ordinary", None), ("celebrity", "ordinary")):
            frame.emit("celebrity", name, peer, metric, [row[metric] for row in taken[name]],
                       [row[metric] for row in taken[peer]] if peer else None)
    for metric in ("p50_ms", "p99_ms"):
        values = {name: [row[metric] for row in rows]
                  for name, rows in (("others-calm", calm), ("others-while-posting", busy))}
        frame.emit("celebrity", "others-calm", None, metric, values["others-calm"])
        frame.emit("celebrity", "others-while-posting", "others-calm", metric,
                   values["others-while-posting"], values["others-calm"])


async def _one_post(author, readers):
    """Milliseconds of what is done with one post, and until each reader's home timeline shows it."""
    times = {}

    async def timed(name, call):
        start = time.monotonic()
        answer = await call
        times[name] = (time.monotonic() - start) * 1000
        return answer

    start = time.monotonic()
    post = await timed("publish_ms", author.publish("to all of you"))

    async def seen(reader):
        while True:
            home = await reader.call("GET", "/api/v1/timelines/home?limit=5")
            if any(status["id"] == post for status in home):
                return (time.monotonic() - start) * 1000
            if time.monotonic() - start > VISIBLE_WITHIN:
                raise Unavailable(f"post {post} was not visible within {VISIBLE_WITHIN} s")
            await asyncio.sleep(0.005)

    visible = await asyncio.gather(*(seen(reader) for reader in readers))
    times["visible_p50_ms"] = report.percentile(visible, 0.5)
    times["visible_max_ms"] = max(visible)
    await timed("profile_ms", readers[0].call("GET", f"/api/v1/accounts/{author.id}"))
    await timed("like_ms", readers[0].call("POST", f"/api/v1/statuses/{post}/favourite"))
    await timed("delete_ms", author.call("DELETE", f"/api/v1/statuses/{post}"))
    return times


async def _post(author):
    number = 0
    while True:
        number += 1
        await author.publish(f"more of me, {number}")
        await asyncio.sleep(1 / POSTS_PER_SECOND)


async def _home_reads(others):
    times, tasks, began = [], [], time.monotonic()

    async def one(number, due):
        await others[number % len(others)].call("GET", "/api/v1/timelines/home")
        times.append((time.monotonic() - due) * 1000)

    for number in range(SECONDS * OTHERS_RATE):
        due = began + number / OTHERS_RATE
        await asyncio.sleep(max(0, due - time.monotonic()))
        tasks.append(asyncio.create_task(one(number, due)))
    await asyncio.gather(*tasks)
    return {"p50_ms": report.percentile(times, 0.5), "p99_ms": report.percentile(times, 0.99)}


def _check(cluster, author, first):
    """From that post on nothing was made for each follower."""
    entries = effects = 0
    for shard in cluster.shards():
        entries += int(cluster.sql(
            shard, f"SELECT count(*) FROM feed.entry WHERE author = {author.id}"
            f" AND post_id >= {first}"))
        effects += int(cluster.sql(
            shard, "SELECT count(*) FROM jobs.outbox WHERE kind LIKE 'feed.%'"
            f" AND payload->>'author' = '{author.id}'"))
    if entries or effects:
        raise Unavailable(f"{entries} feed entries and {effects} effects of an author who is merged")
