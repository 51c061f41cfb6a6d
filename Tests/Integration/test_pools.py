"""Memcached nodes join and leave a pool while people post, like and read: nobody notices, and nothing stale is read."""
import os
import random
import secrets
import threading

from traffic import Crowd, OpenLoop

RATE = 12


def pool(cluster, name):
    return next(one for one in cluster.shardctl("pool", "list")["pools"] if one["pool"] == name)


def edit_and_look(person, stop, stale):
    """One post is edited again and again: each look through the cache shows the last text."""
    post = person.publish("first")["id"]
    while not stop.wait(0.05):
        text = secrets.token_hex(6)
        try:
            person.call("PUT", f"/api/v1/statuses/{post}", json={"status": text})
            seen = [person.get(f"/api/v1/statuses/{post}")["content"] for _ in range(2)]
        except Exception as failure:  # judged with the rest
            return stale.append(failure)
        if any(text not in one for one in seen):
            stale.append((text, seen))
    return None


def test_a_cache_node_joins_and_leaves_under_load(cluster, site):
    seed = int(os.environ.get("MOVE_SEED", random.randrange(1 << 32)))
    print(f"MOVE_SEED={seed}")
    before = pool(cluster, "object")
    crowd = Crowd(site, 6, seed)
    stop, stale = threading.Event(), []
    editor = threading.Thread(target=edit_and_look, args=(site.person().elsewhere(), stop, stale))

    with OpenLoop(crowd.act, RATE) as load:
        editor.start()
        try:
            cluster.command("grow", "--cache", "object", "1", "--warm", "2")
            grown = pool(cluster, "object")
            cluster.command("shrink", "--cache", "object", "1", "--warm", "2")
        finally:
            stop.set()
            editor.join()
    after = pool(cluster, "object")

    (new,) = {one["node"] for one in grown["nodes"]} - {one["node"] for one in before["nodes"]}
    slots = {one["node"]: one["slots"] for one in grown["nodes"]}
    assert slots[new] == 1024 // len(slots) and sum(slots.values()) == 1024
    assert [one["node"] for one in after["nodes"]] == [one["node"] for one in before["nodes"]]
    assert after["phase"] == "steady" and "memcached-object3" not in cluster.names("memcached")
    assert not load.failures, f"{len(load.failures)} of {len(load.latencies)}: {load.failures[:3]}"
    assert not stale, stale[:3]
    crowd.is_whole()


def test_what_cannot_be_is_refused_before_a_pool_changes(cluster):
    before = pool(cluster, "feed")

    assert "one must stay" in cluster.command(
        "shrink", "--cache", "feed", "9", expect=(65,)).stderr
    assert "invalid choice" in cluster.command("grow", "--cache", "nothing", expect=(64,)).stderr
    assert "goes with --cache" in cluster.command("grow", "--warm", "3", "--yes", expect=(64,)).stderr
    address = cluster.process("memcached-feed1")["port"]
    again = cluster.command(
        "shardctl", "pool", "add", "feed", f"127.0.0.1:{address}", expect=(65,))
    assert "is in the pool already" in again.stderr

    assert pool(cluster, "feed") == before
