"""Home timelines beside a feed on one PostgreSQL, with the same people, follows and posts, as follows grow.

`sql-on-read` computes the page when it is read, as well as SQL can (peers/sqlfeed/on_read.sql), `sql-on-read-simple` as
most would write it, `sql-on-write` reads rows that were inserted for each follower. All three are served by a C
program on libuv and libpq with 16 connections; the pages hold the same posts, which is checked. `tessera` reads first
pages, as an app does when it is opened; `tessera-hydrated` asks with a `since_id` for the same posts, which is never kept
rendered: skeleton and hydration each time; `tessera-below` asks for them as a page further down. Requests go to an
app node as an app sends them, with a token that is checked.
"""
import json
import urllib.request

from frame import Unavailable
from suite import world
from suite.cluster import BenchCluster, say
from suite.load import Generator, Plan, request
from suite.mixing import costs, latencies
from suite.sqlfeed import SQLFeed

ROUNDS, SECONDS = 5, 3
PAGE = 20
FORMS = ("on_read", "on_read_simple", "on_write")
CONNECTIONS = 64
SERIES = ["tessera", "tessera-hydrated", "tessera-below", "sql-on-read", "sql-on-read-simple", "sql-on-write"]
GOALS = [
    {"text": "Home pages at 1,000 follows and 1 M posts beside SQL on read: throughput", "variant": "tessera@1000",
     "metric": "rps", "peer": "sql-on-read@1000", "least": 20},
]
PLOTS = [
    {"title": "CPU of one home page against follows", "x": "follows of the reader", "y": "µs",
     "metrics": ["cpu_us"], "log": True, "log_x": True,
     "series": SERIES},
    {"title": "Home pages a second against follows", "x": "follows of the reader", "y": "pages a second",
     "metrics": ["rps"], "log": True, "log_x": True,
     "series": SERIES},
]


def run(frame):
    quick = frame.options.quick
    sizes = (10, 100) if quick else (10, 100, 1_000)
    network = world.World(
        seed=frame.options.seed, people=1_000 if quick else 50_000,
        posts=10_000 if quick else 1_000_000, readers={size: 50 if quick else 200 for size in sizes})
    say(f"writing {len(network.posts)} posts of {len(network.people)} people, twice")
    peer = SQLFeed(frame, network)
    cluster = BenchCluster(frame)
    tokens = world.settle_in(cluster, network)
    cluster.rest()
    servers = {form: peer.serve(form) for form in FORMS}
    generator = Generator(frame)
    measures = {}
    for size in sizes:
        readers = network.groups[size]
        check(network, cluster, tokens, servers, readers[:5])
        ours = {"tessera": [first(tokens[r]) for r in readers],
                "tessera-hydrated": [hydrated(tokens[r]) for r in readers],
                "tessera-below": [below(network, r, tokens[r]) for r in readers]}
        for name, messages in ours.items():
            measures[f"{name}@{size}"] = (
                lambda plan=plan_of(messages): of_cluster(frame, generator, cluster, plan))
        theirs = plan_of([peer.message(r) for r in readers])
        for form, server in servers.items():
            measures[f"sql-{form.replace('_', '-')}@{size}"] = (
                lambda server=server, plan=theirs: of_peer(frame, generator, peer, server, plan))
    frame.rounds("home-reads", measures,
                 ["sql-on-read", "sql-on-read-simple", "sql-on-write"])
    frame.note("home-reads", "PostgreSQL's plan of sql-on-read for a reader of the largest group",
               peer.plan("on_read", network.groups[sizes[-1]][0]))


def first(token):
    return request("GET", f"/api/v1/timelines/home?limit={PAGE}", token)


def hydrated(token):
    """The first page, with a condition that every post fulfils."""
    return request("GET", f"/api/v1/timelines/home?limit={PAGE}&since_id=1", token)


def below(network, reader, token):
    """A page that begins under an id which is above every post."""
    newest = network.home(reader)[0] + (1 << 16)
    return request("GET", f"/api/v1/timelines/home?limit={PAGE}&max_id={newest}", token)


def plan_of(messages):
    plan = Plan(["home"])
    for message in messages:
        plan.due(0, plan.add("home", message))
    return plan


def figures(measured, used):
    return {"rps": measured.all.ok / measured.seconds, **latencies(measured.all), **used,
            "page_bytes": measured.all.bytes / measured.all.ok}


def of_cluster(frame, generator, cluster, plan):
    accounting = cluster.accounting()
    # The generator's warm-up is not counted by it, and so not here: the same plan warms before.
    generator.closed(cluster.port, plan, 0.3, warm=0, connections=CONNECTIONS)
    measured, used = accounting.during(lambda: generator.closed(
        cluster.port, plan, frame.options.seconds, warm=0, connections=CONNECTIONS))
    return figures(measured.refuse_errors("the app node"), costs(measured, used))


def of_peer(frame, generator, peer, server, plan):
    generator.closed(server.port, plan, 0.3, warm=0, connections=CONNECTIONS)
    before = server.cpu_seconds() + peer.database.cpu_seconds()
    measured = generator.closed(
        server.port, plan, frame.options.seconds, warm=0, connections=CONNECTIONS)
    used = server.cpu_seconds() + peer.database.cpu_seconds() - before
    return figures(measured.refuse_errors(server.name),
                   {"cpu_us": used / measured.all.ok * 1e6})


def check(network, cluster, tokens, servers, readers):
    """Every server shows the posts that the world says, in their order."""
    for reader in readers:
        wanted = [str(post) for post in network.home(reader)[:PAGE]]
        for name, port, path, token in [
                ("the app node", cluster.port, f"/api/v1/timelines/home?limit={PAGE}", tokens[reader]),
                *((server.name, server.port, f"/home/{reader}", None) for server in servers.values())]:
            asked = urllib.request.Request(
                f"http://127.0.0.1:{port}{path}",
                headers={"Authorization": f"Bearer {token}"} if token else {})
            with urllib.request.urlopen(asked) as answer:
                shown = [post["id"] for post in json.load(answer)]
            if shown != wanted:
                raise Unavailable(f"{name} shows {shown[:3]}… instead of {wanted[:3]}…")
