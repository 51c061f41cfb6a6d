"""Clusters that a scenario makes for itself, with as many shards as it asks for, and takes away again."""
import base64
import hashlib
import hmac
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

from frame import ROOT, Unavailable, free_port
from open_loop.site import Cluster

from .accounting import Accounting

# Everything of a cluster lies within this many ports.
PORTS = 500
SCOPES = "read write follow"
# The services that can have nodes of their own. Here they run on core's unless told otherwise: what is measured is one
# process, as the peers are.
POOLS = ("media", "notifications", "search", "streaming")
TOKEN_SECONDS = 7 * 86400


class BenchCluster:
    """`cluster/up` in a folder of its own; one app node and one worker unless told otherwise.

    Requests go to the app node itself, past the balancer: the peers have none either.
    """

    def __init__(self, frame, shards=4, app_nodes=1, workers=1, **settings):
        self.frame = frame
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="tessera-bench-cluster-"))
        base = port_range(frame.options.port_base)
        self.environment = {
            **os.environ, "TESSERA_HOME": str(self.home), "PORT_BASE": str(base),
            "HTTP_PORT": str(base + 480), "HTTPS_PORT": str(base + 481), "SHARDS": str(shards),
            "APP_NODES": str(app_nodes), "WORKERS": str(workers), "COORDINATORS": "1",
            "SKIP_PACKAGES": "1", "SKIP_BUILD": "1", "TMPDIR": str(self.home),
            **{f"{name.upper()}_NODES": "0" for name in POOLS},
            **{name.upper(): str(value) for name, value in settings.items()}}
        frame.product("appnode")
        frame.on_close(self.close)
        self.command("up")
        self.site = Cluster(self.home)
        self.base = base
        self.port = base + 101
        self.balancer = base + 480
        self._quieten()
        self.shards = self.site.shards()
        self.owners = self.site.owners()
        self._key_id, secret = (self.home / "secrets" / "token-keys").read_text().split()[:2]
        self._key = hmac.digest(bytes.fromhex(secret), b"access token", hashlib.sha256)

    def command(self, name, *arguments):
        run = subprocess.run(
            [str(ROOT / "cluster" / name), *arguments], env=self.environment, capture_output=True,
            text=True)
        if run.returncode:
            raise Unavailable(f"cluster/{name}: {(run.stderr or run.stdout).strip()[-400:]}")

    def close(self):
        if (self.home / "settings.json").exists():
            subprocess.run(
                [str(ROOT / "cluster" / "destroy"), "--yes"], env=self.environment,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(self.home, ignore_errors=True)

    def _quieten(self):
        """No line for each answer: none of the peers writes one either, and the balancer has its own."""
        if "\n  access: " not in (ROOT / "config" / "appnode.yaml").read_text():
            return
        for name, pid in self.processes().items():
            if name.startswith("app"):
                file = self.home / "config" / f"{name}.yaml"
                file.write_text(file.read_text().replace("  level: info", "  level: info\n  access: false"))
                # It keeps no state, and is started again at once.
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        for number in range(1, int(self.environment["APP_NODES"]) + 1):
            while not _is_ready(self.base + 100 + number):
                if time.monotonic() > deadline:
                    raise Unavailable(f"app{number} does not come back")
                time.sleep(0.1)

    # MARK: What runs

    def accounting(self):
        return Accounting(self.processes())

    def processes(self):
        return self.site.processes()

    def status(self):
        return self.site.status()

    def names(self, prefix):
        return [name for name in self.processes() if name.startswith(prefix)]

    def flush_caches(self):
        """Every memcached forgets everything."""
        for number in range(6):
            with socket.create_connection(("127.0.0.1", self.base + 400 + number), 5) as link:
                link.sendall(b"flush_all\r\n")
                link.recv(64)

    def outbox(self):
        """Effects that wait, on all shards; not those of accounts, some of which wait for hours on purpose."""
        return sum(int(self.site.sql(
            shard, "SELECT count(*) FROM jobs.outbox WHERE kind NOT LIKE 'accounts.%'"))
            for shard in self.shards)

    def settle(self, seconds=120):
        """Until every effect has been delivered."""
        deadline = time.monotonic() + seconds
        while self.outbox():
            if time.monotonic() > deadline:
                raise Unavailable(f"effects are still waiting after {seconds} s")
            time.sleep(0.1)

    # MARK: Data

    def copy(self, table, columns, rows, conflict=None):
        """Writes rows, tuples that begin with their bucket, to the shards that own them.

        `conflict` says what becomes of rows that are there already: workers look after some tables meanwhile.
        """
        names = ", ".join(columns)
        commands = ["-c", f"COPY {table} ({names}) FROM STDIN"]
        if conflict:
            commands = ["-c", f"CREATE TEMP TABLE arriving (LIKE {table})",
                        "-c", f"COPY arriving ({names}) FROM STDIN",
                        "-c", f"INSERT INTO {table} ({names}) SELECT {names} FROM arriving {conflict}"]
        streams = {}
        try:
            for shard in self.shards:
                streams[shard] = subprocess.Popen(
                    [*self.site.psql_command(shard), "-Xq", "-v", "ON_ERROR_STOP=1", *commands],
                    stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=self.site.environment)
            buffers, owners = {shard: [] for shard in self.shards}, self.owners
            for row in rows:
                buffer = buffers[owners[row[0]]]
                buffer.append("\t".join(map(_field, row)))
                if len(buffer) == 5_000:
                    _send(streams[owners[row[0]]], buffer)
            for shard, buffer in buffers.items():
                _send(streams[shard], buffer)
        except OSError:
            # The stream that broke says why below.
            pass
        for shard, stream in streams.items():
            error = stream.communicate()[1].decode()
            if stream.returncode:
                raise Unavailable(f"{shard}: COPY {table}: {error.strip()[-300:]}")

    def rest(self):
        """After much was written: statistics, and no dirty pages that somebody else would pay for."""
        for shard in self.shards:
            self.site.sql(shard, "VACUUM ANALYZE")
            self.site.sql(shard, "CHECKPOINT")

    def token(self, user, session, expires):
        """What the product signs for a session, made with its own key."""
        payload = struct.pack(">qqq", user, session, expires) + SCOPES.encode()
        signed = f"v1.{_base64(payload)}.{self._key_id}"
        return f"{signed}.{_base64(hmac.digest(self._key, signed.encode(), hashlib.sha256))}"


def home_of(frame, **settings):
    """The folder of the cluster that runs, as TESSERA_HOME or this checkout says; else of one that is made for now."""
    home = pathlib.Path(os.environ.get("TESSERA_HOME", ROOT / ".tessera"))
    return home if (home / "settings.json").exists() else BenchCluster(frame, **settings).home


def port_range(start):
    """The first free range of ports from `start` on."""
    for base in range(start, 32_000, PORTS):
        try:
            if free_port(base + 101) == base + 101 and free_port(base + 201) == base + 201:
                return base
        except Unavailable:
            continue
    raise Unavailable(f"no free range of {PORTS} ports from {start} on")


def _is_ready(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        # Not listening yet, or a status that says no.
        return False


def _send(stream, lines):
    if lines:
        stream.stdin.write(("\n".join(lines) + "\n").encode())
        lines.clear()


def _field(value):
    if value is None:
        return "\\N"
    if value is True or value is False:
        return "t" if value else "f"
    return str(value)


def _base64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def say(text):
    print(text, file=sys.stderr, flush=True)
