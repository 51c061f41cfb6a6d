"""Publishing on the cluster that runs, or on one of its own: until the answer, and until a follower's home timeline shows it.

Beside the floor of the same run: one durable commit on one shard, one round trip through the balancer.
"""
import http.client
import json
import os
import pathlib
import statistics
import subprocess
import time
import urllib.parse

from frame import Unavailable
from suite.cluster import home_of

POSTS_PER_ROUND = 20
VISIBLE_WITHIN = 10.0
COMMITS = "SELECT pg_logical_emit_message(true, 'bench', 'one small commit');\n"


class Client:
    """One kept connection to the balancer."""

    def __init__(self, port, token=None):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self.token = token

    def call(self, method, path, **fields):
        headers = {"Idempotency-Key": os.urandom(12).hex()} if method == "POST" else {}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        body = None
        if fields:
            body = urllib.parse.urlencode(fields)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise Unavailable(f"{method} {path} answered {answer.status}: {text[:300]!r}")
        return json.loads(text) if text[:1] in (b"{", b"[") else None


def sign_up(port):
    app = Client(port).call(
        "POST", "/api/v1/apps", client_name="bench", scopes="read write follow",
        redirect_uris="urn:ietf:wg:oauth:2.0:oob")
    token = Client(port).call(
        "POST", "/oauth/token", grant_type="client_credentials", scope="read write follow",
        client_id=app["client_id"], client_secret=app["client_secret"])["access_token"]
    name = "bench_" + os.urandom(5).hex()
    member = Client(port, token).call(
        "POST", "/api/v1/accounts", username=name, email=f"{name}@bench.example",
        password="a long bench password", agreement="true", locale="en")["access_token"]
    client = Client(port, member)
    client.id = client.call("GET", "/api/v1/accounts/verify_credentials")["id"]
    return client


def commit_ms(frame, port, password):
    script = frame.folder / "commit.sql"
    script.write_text(COMMITS)
    pgbench = next(iter(pathlib.Path("/usr/lib/postgresql").glob("*/bin/pgbench")), None)
    if not pgbench:
        raise Unavailable("pgbench is missing; install it with: apt-get install postgresql-15")
    out = subprocess.run(
        [str(pgbench), "-n", "-c1", "-T1", "-f", str(script), "-h", "127.0.0.1", "-p", str(port),
         "-U", "mover", "tessera"],
        capture_output=True, text=True, env={**os.environ, "PGPASSWORD": password})
    for line in out.stdout.splitlines():
        if line.startswith("latency average"):
            return float(line.split("=")[1].split()[0])
    raise Unavailable(f"pgbench: {out.stderr.strip()[-300:]}")


def round_trip_ms(client):
    times = []
    for _ in range(200):
        start = time.perf_counter()
        client.call("GET", "/livez")
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def publish(author, reader, number):
    """Milliseconds until the answer, and until the reader sees the post, both from its sending."""
    start = time.perf_counter()
    post = author.call("POST", "/api/v1/statuses", status=f"post {number}")["id"]
    answered = time.perf_counter()
    while True:
        home = reader.call("GET", "/api/v1/timelines/home?limit=5")
        now = time.perf_counter()
        if any(status["id"] == post for status in home):
            return (answered - start) * 1000, (now - start) * 1000
        if now - start > VISIBLE_WITHIN:
            raise Unavailable(f"post {post} was not visible within {VISIBLE_WITHIN} s")
        time.sleep(0.002)


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def run(frame):
    home = home_of(frame)
    chosen = json.loads((home / "settings.json").read_text())
    port = chosen["http_port"]
    password = (home / "secrets" / "postgres-mover").read_text().strip()
    author, reader = sign_up(port), sign_up(port)
    reader.call("GET", "/api/v1/timelines/home")
    reader.call("POST", f"/api/v1/accounts/{author.id}/follow")
    publish(author, reader, 0)
    taken = {name: [] for name in ("commit", "trip", "post50", "post99", "seen50", "seen99")}
    for _ in range(frame.options.rounds):
        taken["commit"].append(commit_ms(frame, chosen["port_base"] + 201, password))
        taken["trip"].append(round_trip_ms(author))
        pairs = [publish(author, reader, n) for n in range(POSTS_PER_ROUND)]
        answered, seen = [a for a, _ in pairs], [s for _, s in pairs]
        taken["post50"].append(percentile(answered, 0.5))
        taken["post99"].append(percentile(answered, 0.99))
        taken["seen50"].append(percentile(seen, 0.5))
        taken["seen99"].append(percentile(seen, 0.99))
    frame.emit("post", "one-commit", None, "latency_ms", taken["commit"])
    frame.emit("post", "one-round-trip", None, "latency_ms", taken["trip"])
    floor = [c + t for c, t in zip(taken["commit"], taken["trip"])]
    frame.emit("post", "commit-and-trip", None, "latency_ms", floor)
    for variant, key in (("until-answered", "post"), ("until-visible", "seen")):
        for share in ("50", "99"):
            frame.emit(
                "post", variant, "commit-and-trip", f"p{share}_ms", taken[key + share], floor)
