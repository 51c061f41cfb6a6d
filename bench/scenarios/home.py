"""The first page of a home timeline as it lies in memcached: an app node beside nginx `memcached_pass` on the same bytes.

The app node is the product's own, with everything on: the token, whether its session stands, metrics, limits, the log of
withdrawals, the interaction log, conditional requests. nginx has nothing of that: it writes what memcached holds under the
name that was asked for. Both ask the same memcached, one process each with one loop; `not-modified` is the same page with its
`ETag`. `hydrated` asks for the same posts in a way that is never kept rendered. Requests go to many readers in turn.
"""
import json
import socket
import urllib.request

from frame import Unavailable, free_port
from suite import world
from suite.cluster import BenchCluster, say
from suite.load import Generator, Plan, request
from suite.mixing import latencies

ROUNDS, SECONDS = 7, 3
PAGE = 20
READERS = 64
CONNECTIONS = 64
PATH = f"/api/v1/timelines/home?limit={PAGE}"
PEER = "nginx-memcached_pass"
GOALS = [
    {"text": "Cached home page beside nginx memcached_pass on the same bytes: throughput", "variant": "tessera",
     "metric": "rps", "peer": PEER, "least": 1.1},
    {"text": "Cached home page beside nginx memcached_pass on the same bytes: CPU", "variant": "tessera",
     "metric": "cpu_us", "peer": PEER, "most": 1.0},
]

NGINX = """
daemon off; worker_processes 1; pid {folder}/home-nginx.pid; error_log /dev/null;
events {{ worker_connections 1024; }}
http {{
    access_log off; default_type application/json; keepalive_requests 1000000000;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    memcached_buffer_size 128k;
    upstream cache {{ server 127.0.0.1:{memcached}; keepalive 64; }}
    server {{
        listen 127.0.0.1:{port};
        location /home/ {{ set $memcached_key $uri; memcached_pass cache; }}
    }}
}}
"""


def run(frame):
    network = world.World(
        seed=frame.options.seed, people=1_000, posts=20_000, readers={100: READERS})
    cluster = BenchCluster(frame)
    tokens = world.settle_in(cluster, network)
    cluster.rest()
    memcached = cluster.base + 400
    node = app_node(frame, cluster)
    pages = {reader: read(node.port, tokens[reader]) for reader in network.readers}
    say(f"pages of {sum(len(body) for body, _ in pages.values()) // len(pages)} bytes")
    put(memcached, {f"/home/{reader}": body for reader, (body, _) in pages.items()})
    peer = nginx(frame, memcached)

    kept = plan([request("GET", PATH, tokens[r]) for r in pages])
    tagged = plan([conditional(tokens[r], tag) for r, (_, tag) in pages.items()])
    hydrated = plan([request("GET", PATH + "&since_id=1", tokens[r]) for r in pages])
    theirs = plan([request("GET", f"/home/{r}") for r in pages])
    generator = Generator(frame)
    frame.rounds(
        "home",
        {PEER: lambda: measure(frame, generator, peer, theirs),
         "tessera": lambda: measure(frame, generator, node, kept),
         "not-modified": lambda: measure(frame, generator, node, tagged),
         "hydrated": lambda: measure(frame, generator, node, hydrated)},
        references=[PEER])
    share = hits(node.metrics)
    say(f"{share:.1%} of first pages were served rendered")
    if share < 0.9:
        raise Unavailable("most pages were not kept: the figures are not of cached pages")


def app_node(frame, cluster):
    """One more app node of the cluster, on one loop and without a line for each answer, as nginx has none."""
    port, metrics = free_port(cluster.base + 300), free_port(cluster.base + 340)
    server = frame.start(
        "appnode",
        [frame.product("appnode"), "--config", cluster.home / "config" / "app1.yaml", "--http-port", port,
         "--metrics-port", metrics, "--loops", "1", "--log-access", "false", "--map-cache-file", "",
         "--feed-page-seconds", "60"],
        port)
    server.metrics = metrics
    return server


def read(port, token):
    """The page and its tag, once it is kept."""
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}{PATH}",
        headers={"Authorization": f"Bearer {token}", "Tessera-Debug": "1"})
    for _ in range(200):
        with urllib.request.urlopen(asked) as answer:
            body, cost = answer.read(), answer.headers["Tessera-Cost"]
            if "shards=0/0" in cost:
                if len(json.loads(body)) != PAGE:
                    raise Unavailable(f"a page of {len(json.loads(body))} posts")
                return body, answer.headers["ETag"]
    raise Unavailable(f"the page is not kept rendered: {cost}")


def conditional(token, tag):
    head = request("GET", PATH, token)[:-2].decode()
    return f"{head}If-None-Match: {tag}\r\n\r\n".encode()


def plan(messages):
    plan = Plan(["home"])
    for message in messages:
        plan.due(0, plan.add("home", message))
    return plan


def put(port, values):
    with socket.create_connection(("127.0.0.1", port)) as link:
        for name, value in values.items():
            link.sendall(f"set {name} 0 0 {len(value)}\r\n".encode() + value + b"\r\n")
            if link.recv(64) != b"STORED\r\n":
                raise Unavailable(f"memcached did not take {len(value)} bytes")


def nginx(frame, memcached):
    port = free_port(23420)
    config = frame.folder / "home-nginx.conf"
    config.write_text(NGINX.format(folder=frame.folder, port=port, memcached=memcached))
    return frame.start("nginx", [frame.tool("nginx", "nginx-light"), "-c", config], port)


def measure(frame, generator, server, messages):
    """Throughput, latency, and CPU of the server itself; memcached and the shards are the same for both."""
    generator.closed(server.port, messages, 0.3, warm=0, connections=CONNECTIONS)
    before = server.cpu_seconds()
    measured = generator.closed(
        server.port, messages, frame.options.seconds, warm=0, connections=CONNECTIONS)
    used = server.cpu_seconds() - before
    measured.refuse_errors(server.name)
    return {"rps": measured.all.ok / measured.seconds, "cpu_us": used / measured.all.ok * 1e6,
            **latencies(measured.all), "page_bytes": measured.all.bytes / measured.all.ok}


def hits(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    counts = {line.split(" ")[0]: float(line.split(" ")[1]) for line in lines
              if line.startswith('tessera_pages_total{page="home"')}
    return sum(v for k, v in counts.items() if '"hit"' in k) / max(1, sum(counts.values()))
