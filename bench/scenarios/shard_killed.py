"""The PostgreSQL of one of four shards is killed with SIGKILL; the supervisor starts it again, and it recovers."""
from suite import faults

ROUNDS, SECONDS, QUICK_SECONDS = 3, 45, 15
PLOTS = [faults.over_time("One of four shards killed at one third: p99 of home reads in each second")]


def run(frame):
    faults.run(frame, "shard-killed", lambda cluster: faults.kill(cluster, ["shard2"]), lasting=5)
