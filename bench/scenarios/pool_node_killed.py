"""One of the two memcached of each pool stops answering without closing its connections, and comes back at two thirds."""
from suite import faults

ROUNDS, SECONDS, QUICK_SECONDS = 3, 45, 15
PLOTS = [faults.over_time("Half of each pool gone from one third to two thirds: p99 of home reads in each second")]
NODES = ["memcached-feed1", "memcached-object1", "memcached-session1"]
GOALS = [
    {"text": "Half of each cache pool gone: errors of home reads", "variant": "home-during", "metric": "errors",
     "peer": None, "of": "max", "most": 0},
    {"text": "Half of each cache pool gone: seconds until home p99 is back to normal", "variant": "home",
     "metric": "seconds_to_normal", "peer": None, "of": "median", "most": 10},
]


def run(frame):
    faults.run(frame, "pool-node-killed", lambda cluster: faults.pause(cluster, NODES), faults.resume)
