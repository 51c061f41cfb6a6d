"""Shards join and leave while people post, like and read at a fixed rate: nobody notices."""
import os
import random

import pytest

from traffic import Crowd, OpenLoop

# Requests a second; low, since the machine of a test does much else.
RATE = 8


@pytest.fixture
def seed():
    """`MOVE_SEED=7` repeats a run's requests."""
    seed = int(os.environ.get("MOVE_SEED", random.randrange(1 << 32)))
    print(f"MOVE_SEED={seed}")
    return seed


def judge(cluster, crowd, load):
    assert not load.failures, f"{len(load.failures)} of {len(load.latencies)}: {load.failures[:3]}"
    crowd.is_whole()
    assert cluster.command("shardctl", "doctor").stdout == "nothing found\n"


def test_a_shard_joins_and_leaves_under_load(cluster, site, seed):
    before = cluster.buckets()
    crowd = Crowd(site, 16, seed)

    with OpenLoop(crowd.act, RATE) as load:
        cluster.command("grow", "1", "--yes")
        grown = cluster.buckets()
        cluster.command("shrink", "1", "--yes")
    after = cluster.buckets()

    (new,) = grown.keys() - before.keys()
    assert sum(grown.values()) == 1024 and grown[new] > 0
    assert after.keys() == before.keys() and sum(after.values()) == 1024
    assert f"shard{new[1:]}" not in cluster.names("shard")
    judge(cluster, crowd, load)


def test_a_shard_is_replaced_under_load(cluster, site, seed):
    before = cluster.buckets()
    old = max(before, key=lambda name: int(name[1:]))
    crowd = Crowd(site, 16, seed)

    with OpenLoop(crowd.act, RATE) as load:
        cluster.command("replace", old, "--yes")
    after = cluster.buckets()

    assert old not in after and len(after) == len(before) and sum(after.values()) == 1024
    judge(cluster, crowd, load)


def test_an_account_gets_a_shard_of_its_own_under_load(cluster, site, seed):
    crowd = Crowd(site, 12, seed)
    star = crowd.people[0]

    with OpenLoop(crowd.act, RATE) as load:
        cluster.command("grow", "--empty", "--yes")
        cluster.command("shardctl", "isolate", star.name)
        cluster.command("shardctl", "apply", "--wait", "--yes")
    alone = next(name for name, count in cluster.buckets().items() if count == 1)
    assert cluster.shard_of(star) == f"shard{alone[1:]}"
    judge(cluster, crowd, load)

    cluster.command("shardctl", "isolate", star.name, "--undo")
    cluster.command("shrink", "1", "--yes")
    assert alone not in cluster.buckets()


def test_what_cannot_be_is_refused_before_anything_changes(cluster):
    before = (cluster.buckets(), cluster.names("shard"))

    assert "one must stay" in cluster.command("shrink", "9", "--yes", expect=(65,)).stderr
    assert "there is no shard s99" in cluster.command("replace", "s99", "--yes", expect=(64,)).stderr
    assert "is no shard's name" in cluster.command("replace", "web", "--yes", expect=(64,)).stderr
    assert "--yes" in cluster.command("grow", expect=(64,)).stderr
    assert "1 or more" in cluster.command("grow", "0", "--yes", expect=(64,)).stderr
    assert "at most" in cluster.command("grow", "90", "--yes", expect=(65,)).stderr
    cluster.command("shardctl", "pause")
    try:
        assert "paused" in cluster.command("grow", "--yes", expect=(65,)).stderr
    finally:
        cluster.command("shardctl", "resume")

    assert (cluster.buckets(), cluster.names("shard")) == before
