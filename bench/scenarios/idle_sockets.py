"""Memory of a WebSocket that listens to its user's stream and hears nothing, straight at one app node.

Ten thousand sockets of 500 people, from several addresses. What the process holds more of than before, of memory that is
its own, is divided by their number; the kernel's part is left out.
"""
import resource

from frame import Unavailable
from scenarios.idle import ADDRESSES, SPARE, private_bytes
from suite import world
from suite.cluster import BenchCluster
from suite.sockets import Ear

ROUNDS = 1
SOCKETS, PEOPLE = 10_000, 500
QUICK_SOCKETS = 2_000
GOALS = [
    {"text": "Bytes of user memory of an idle WebSocket", "variant": "tessera", "metric": "bytes", "most": 3_000},
]


def run(frame):
    count = QUICK_SOCKETS if frame.options.quick else SOCKETS
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit[1] != resource.RLIM_INFINITY and limit[1] < count + SPARE:
        raise Unavailable(f"a process may have {limit[1]} descriptors here; {count + SPARE} are wanted")
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + SPARE, limit[1]))
    network = world.World(seed=frame.options.seed, people=PEOPLE + 100, posts=500, readers={1: 20})
    people = list(network.people)[:PEOPLE]
    cluster = BenchCluster(frame, shards=1)
    tokens = list(world.settle_in(cluster, network, people).values())
    node = cluster.processes()["app1"]
    taken = []
    for _ in range(frame.options.rounds):
        # What the first socket of a user makes of caches and connections is in both figures.
        ears = [Ear(cluster.port, token) for token in tokens]
        before = private_bytes(node)
        try:
            for number in range(count):
                ears.append(Ear(cluster.port, tokens[number % len(tokens)],
                                source=ADDRESSES[number % len(ADDRESSES)]))
            taken.append((private_bytes(node) - before) / count)
        finally:
            for ear in ears:
                ear.close()
    frame.emit("idle-sockets", "tessera", None, "bytes", taken)
