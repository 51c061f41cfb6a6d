"""Every memcached forgets everything while people read: how much slower that is, and for how long."""
from suite import faults

ROUNDS, SECONDS, QUICK_SECONDS = 3, 30, 12
PLOTS = [faults.over_time("Caches emptied at one third: p99 of home reads in each second")]


def run(frame):
    faults.run(frame, "cold-cache", lambda cluster: cluster.flush_caches(), lasting=5)
