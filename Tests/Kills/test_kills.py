"""Processes that die or are cut off: nothing acknowledged is lost, and what cannot be served says so."""
import concurrent.futures
import secrets
import threading
import time

import pytest
import requests

from people import eventually
from traffic import (
    Traffic, audience, has_exactly, publish_stubbornly, stubborn, whole_profile)

OUTAGE_SECONDS = 30


def test_a_worker_killed_in_mid_fan_out_loses_and_doubles_nothing(cluster, site):
    author = site.person()
    readers = audience(site, author, 12)
    made = []

    for number in range(30):
        made.append(author.publish(f"post {number}")["id"])
        if number in (5, 15, 25):
            for name in cluster.names("worker"):
                old = cluster.kill(name)
                cluster.wait_for_new(name, old)

    for reader in readers:
        has_exactly(reader, made)


def test_an_app_node_killed_under_writes_keeps_its_word(cluster, site):
    author = site.person()
    (reader,) = audience(site, author, 1)
    numbers = iter(range(10_000))
    lock = threading.Lock()

    def act():
        with lock:
            number = next(numbers)
        return publish_stubbornly(author.elsewhere(), f"post {number}")["id"]

    # A feed keeps its newest 800 entries; the test stays below that.
    with Traffic(act, pause=0.1) as traffic:
        for name in cluster.names("app") * 2:
            time.sleep(0.5)
            old = cluster.kill(name)
            cluster.wait_for_new(name, old)
            cluster.wait_until_ready()

    assert not traffic.failures
    # One key, one post: what was asked again was not made again.
    texts = [status["content"] for status in whole_profile(author)]
    assert len(texts) == len(set(texts)) == len(traffic.results)
    has_exactly(reader, traffic.results)


def test_a_node_that_dies_between_commit_and_answer_is_asked_again_without_harm(cluster, site):
    """A failpoint ends the node when the post is committed, before a byte of the answer is sent."""
    if not cluster.has_failpoints():
        pytest.skip("the app nodes run without TESSERA_ALLOW_FAILPOINTS=1")
    author = site.person()
    (reader,) = audience(site, author, 1)
    key = secrets.token_hex(8)
    app = cluster.process("app1")
    node = site.at(f"http://127.0.0.1:{app['port']}")

    with pytest.raises(requests.ConnectionError):
        node.call("POST", "/api/v1/statuses", token=author.token, key=key,
                  json={"status": "committed", "media_ids": []},
                  headers={"X-Tessera-Failpoint": "answer"})
    cluster.wait_for_new("app1", app["pid"])

    status = stubborn(lambda: author.publish("committed", key=key))
    assert [s["id"] for s in whole_profile(author)] == [status["id"]]
    has_exactly(reader, [status["id"]])


def test_a_shard_that_is_down_takes_only_its_own_people_along(cluster, site):
    victim_shard = cluster.names("shard")[0]
    there, elsewhere = None, None
    while not (there and elsewhere):
        person = site.person()
        if cluster.shard_of(person) == victim_shard:
            there = there or person
        else:
            elsewhere = elsewhere or person
    there.follow(elsewhere)
    there.home()
    before = there.publish("before the outage")["id"]

    cluster.stop(victim_shard)
    try:
        ends = time.monotonic() + OUTAGE_SECONDS
        made, refused = [], []
        while time.monotonic() < ends:
            made.append(elsewhere.publish(f"meanwhile {len(made)}")["id"])
            answer = there.call("POST", "/api/v1/statuses", key=secrets.token_hex(8),
                                json={"status": "not now"}, expect=(503,))
            refused.append(answer)
            assert elsewhere.home_ids(limit=1) == made[-1:]
            time.sleep(0.5)
    finally:
        cluster.start(victim_shard)

    for answer in refused:
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.json()["error"]
    stubborn(lambda: there.home_ids())
    eventually(lambda: set(made) <= set(there.whole_home()), "what was posted meanwhile", 60)
    assert [s["id"] for s in whole_profile(there)] == [before]


def test_flushed_and_restarted_caches_lose_nothing(cluster, site):
    author = site.person()
    (reader,) = audience(site, author, 1)
    made = []

    for number in range(10):
        made.append(author.publish(f"post {number}")["id"])
        if number == 3:
            cluster.flush_caches()
        if number == 6:
            for name in cluster.names("memcached"):
                cluster.kill(name)

    has_exactly(reader, made)


def test_stopped_caches_are_slow_and_not_wrong(cluster, site):
    author = site.person()
    (reader,) = audience(site, author, 1)
    names = cluster.names("memcached")

    for name in names:
        cluster.pause(name)
    try:
        status = author.publish("without a cache")
        reader.sees(status)
    finally:
        for name in names:
            cluster.resume(name)


def test_reads_and_writes_go_on_without_etcd(cluster, site):
    author = site.person()
    cluster.stop("etcd")
    try:
        # A node that starts now takes the map from its own disk.
        for name in (*cluster.names("app")[:1], *cluster.names("worker")[:1]):
            old = cluster.kill(name)
            cluster.wait_for_new(name, old)
        cluster.wait_until_ready()
        readers = audience(site, author, 3)
        made = [publish_stubbornly(author, f"post {number}")["id"] for number in range(5)]
        for reader in readers:
            has_exactly(reader, made)
    finally:
        cluster.start("etcd")


def test_a_restart_in_order_loses_no_request(cluster, site):
    author = site.person()

    def act():
        return requests.get(f"{site.url}/api/v1/timelines/home", timeout=20, headers={
            "Authorization": f"Bearer {author.token}"}).status_code

    with Traffic(act) as reads, Traffic(lambda: author.elsewhere().publish("x")["id"],
                                        threads=2) as writes:
        cluster.restart("app")

    assert not reads.failures and set(reads.results) == {200}
    # The writes carry no second attempt of ours: each was acknowledged at once.
    assert not writes.failures
    assert len(whole_profile(author)) == len(writes.results)


def test_a_balancer_reload_loses_no_request(cluster, site):
    with Traffic(lambda: requests.get(f"{site.url}/livez", timeout=20).status_code) as traffic:
        for _ in range(3):
            cluster.restart("haproxy")
            time.sleep(0.5)

    assert not traffic.failures and set(traffic.results) == {200}


def test_nodes_are_added_and_removed_under_load(cluster, site):
    author = site.person()
    workers, apps = len(cluster.names("worker")), len(cluster.names("app"))

    with Traffic(lambda: author.elsewhere().publish("x")["id"], threads=2) as traffic:
        cluster.up(APP_NODES=apps + 1, WORKERS=workers + 1)
        grown = cluster.names("app")
        cluster.up(APP_NODES=apps, WORKERS=workers)

    assert len(grown) == apps + 1 and len(cluster.names("app")) == apps
    assert not traffic.failures
    assert len(whole_profile(author)) == len(traffic.results)


def test_a_shard_killed_under_writes_keeps_its_word(cluster, site):
    authors = site.people(4)

    def posts(author):
        return [publish_stubbornly(author, f"post {number}")["id"] for number in range(15)]

    with concurrent.futures.ThreadPoolExecutor(len(authors)) as threads:
        futures = [threads.submit(posts, author) for author in authors]
        for shard in cluster.names("shard"):
            old = cluster.kill(shard)
            cluster.wait_for_new(shard, old)
        made = [future.result() for future in futures]

    for author, ids in zip(authors, made):
        assert [s["id"] for s in whole_profile(author)] == sorted(ids, key=int, reverse=True)
