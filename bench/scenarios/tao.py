"""TAOBench's workload A on our routes; which of its operations is which route stands in suite/mixes.py."""
from suite import mixes, mixing, worlds

ROUNDS, SECONDS = 3, 8
COLUMNS = mixing.COLUMNS
PLOTS = [worlds.latency_against_load("TAOBench workload A: latency against load")]


def run(frame):
    cluster, actions = worlds.small(frame)
    mixing.run(frame, "tao", cluster, mixes.tao(actions))
