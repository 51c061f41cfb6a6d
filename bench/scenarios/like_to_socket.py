"""From sending a like to the notification on a WebSocket of another node.

Likes come at a steady pace, one after the other; the author of the liked posts listens on the second app node, the like goes to
the first. Its way is two transactions on the author's shard, a lease between them, two hints on the bus, and the reads of what is shown.

The floor of the same run is what no design with these guarantees is without: a commit of the like, a lease that is committed, an
insert that is committed, and two round trips of HTTP, all on an idle machine.
"""
import random
import time

from scenarios.post_to_feed import percentile, transaction_ms
from suite import world
from suite.cluster import BenchCluster
from suite.sockets import Ear
from suite.watching import Caller

ROUNDS, SECONDS, QUICK_SECONDS = 3, 15, 4
FANS = 200
LIKES_PER_SECOND = 20
TRIPS = 200
GOALS = [
    {"text": "Like to a WebSocket of another node, p50", "variant": "tessera", "metric": "p50_ms", "most": 20},
    {"text": "Like to a WebSocket of another node, p99", "variant": "tessera", "metric": "p99_ms", "most": 100},
]


def run(frame):
    network = world.World(seed=frame.options.seed, people=2 * FANS, posts=2_000, readers={1: 20})
    author = max(set(author for _, author in network.posts),
                 key=lambda one: sum(one == other for _, other in network.posts))
    posts = [post for post, other in network.posts if other == author]
    fans = [person for person in network.people if person != author][:FANS]
    cluster = BenchCluster(frame, shards=2, app_nodes=2)
    tokens = world.settle_in(cluster, network, [author, *fans])
    cluster.rest()
    ear = Ear(cluster.port + 1, tokens[author], "user:notification")
    callers = {fan: Caller(cluster.port, tokens[fan]) for fan in fans}
    pairs = [(fan, post) for fan in fans for post in posts]
    random.Random(frame.options.seed).shuffle(pairs)
    # The stream is open when the first like is heard, whichever that is.
    _like(callers, *pairs.pop())
    ear.event()
    taken = {name: [] for name in ("floor", "p50", "p99")}
    for _ in range(frame.options.rounds):
        taken["floor"].append(floor_ms(frame, cluster, tokens[author]))
        seen = []
        end = time.monotonic() + frame.options.seconds
        while time.monotonic() < end and pairs:
            fan, post = pairs.pop()
            began = time.perf_counter()
            _like(callers, fan, post)
            event, body = ear.event()
            seen.append((time.perf_counter() - began) * 1000)
            assert event == "notification" and int(body["status"]["id"]) == post
            time.sleep(max(0, 1 / LIKES_PER_SECOND - (time.perf_counter() - began)))
        taken["p50"].append(percentile(seen, 0.5))
        taken["p99"].append(percentile(seen, 0.99))
    frame.emit("like-to-socket", "floor", None, "latency_ms", taken["floor"])
    for metric in ("p50", "p99"):
        frame.emit("like-to-socket", "tessera", "floor", f"{metric}_ms", taken[metric], taken["floor"])


def _like(callers, fan, post):
    callers[fan].call("POST", f"/api/v1/statuses/{post}/favourite")


def floor_ms(frame, cluster, token):
    commit = transaction_ms(frame, cluster, "commit", "SELECT pg_logical_emit_message(true, 'bench', 'a like');")
    caller, trips = Caller(cluster.port, token), []
    for _ in range(TRIPS):
        began = time.perf_counter()
        caller.call("GET", "/api/v1/instance")
        trips.append((time.perf_counter() - began) * 1000)
    return 3 * commit + 2 * percentile(trips, 0.5)
