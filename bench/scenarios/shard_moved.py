"""Sixteen buckets move from one shard to another while people read and post; `bench/run move` takes moves apart."""
import os

from frame import Unavailable
from suite import faults

ROUNDS, SECONDS, QUICK_SECONDS = 3, 45, 15
PLOTS = [faults.over_time("Sixteen buckets moved from one third on: p99 of home reads in each second")]
BUCKETS = 16


def run(frame):
    faults.run(frame, "shard-moved", move)


def move(cluster):
    owners = cluster.site.owners()
    source, target = cluster.shards[:2]
    moving = [bucket for bucket, shard in owners.items() if shard == source][:BUCKETS]
    plan = cluster.site.plan_file(source, target, moving)
    try:
        answer, status = cluster.site.shardctl("apply", "--plan", plan, "--wait", "--yes", check=False)
    finally:
        os.unlink(plan)
    if status:
        raise Unavailable(f"the move failed: {answer}")
