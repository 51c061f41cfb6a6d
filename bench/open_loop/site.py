"""The running cluster from its operator's side: shardctl, the journal of moves, owner rows, processes."""
import base64
import http.client
import json
import os
import pathlib
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
JOURNAL = "/tessera/coordinator/moves/"
LEADER = "/tessera/coordinator/leader"
SHARD_PORTS, ETCD_PORT = 200, 79


class Unanswered(Exception):
    """A part of the cluster does not answer; the message says which."""


class Watch:
    """Calls `look` over and over, from a thread and through connections of its own, as long as its body runs."""

    def __init__(self, cluster, every):
        self.cluster, self.every = Cluster(cluster.home), every
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._thread.join()

    def _watch(self):
        while not self._stopped.wait(self.every):
            self.look()


class Journal(Watch):
    """Watches the moves' steps: (move, step, time), each as soon as it is seen."""

    def __init__(self, cluster, every=0.02):
        super().__init__(cluster, every)
        self.steps, self._seen, self._revision = [], {}, 0

    def look(self):
        try:
            moves, self._revision = self.cluster.journal_since(self._revision)
        except Unanswered:
            return
        now = time.monotonic()
        for name, move in moves.items():
            if self._seen.get(name) != move["step"]:
                self._seen[name] = move["step"]
                self.steps.append((name, move["step"], now))

    def times(self, name):
        """Step -> when it was first seen, of one move."""
        found = {}
        for move, step, at in list(self.steps):
            if move == name:
                found.setdefault(step, at)
        return found

    def step(self, name):
        return self._seen.get(name)


class Cluster:
    def __init__(self, home=None):
        self.home = home or pathlib.Path(os.environ.get("TESSERA_HOME", ROOT / ".tessera"))
        try:
            self.settings = json.loads((self.home / "settings.json").read_text())
        except OSError:
            raise Unanswered(f"there is no cluster in {self.home}; cluster/up makes one") from None
        self.base = self.settings["port_base"]
        self.http_port = int(os.environ.get("HTTP_PORT", self.settings["http_port"]))
        self._etcd_token = self._gateway = None

    def secret(self, name):
        return (self.home / "secrets" / name).read_text().strip()

    # MARK: shardctl

    def command(self, *arguments):
        return [str(self.home / "bin" / "shardctl"), *arguments,
                "--config", str(self.home / "config" / "shardctl.yaml")]

    def shardctl(self, *arguments, check=True):
        """The JSON that a command prints, and its exit status."""
        run = subprocess.run(self.command(*arguments, "--json"), capture_output=True, text=True)
        if check and run.returncode:
            raise Unanswered(f"shardctl {' '.join(arguments)}: {(run.stderr or run.stdout).strip()}")
        try:
            return json.loads(run.stdout), run.returncode
        except ValueError:
            return None, run.returncode

    def plan_file(self, source, target, buckets, size=0):
        """A plan of one move, as `shardctl apply --plan` reads it."""
        file = tempfile.NamedTemporaryFile("w", suffix=".json", delete=False, encoding="utf-8")
        with file:
            json.dump({"moves": [{"id": "m1", "source": source, "target": target,
                                  "buckets": list(buckets), "bytes": size, "reason": "pin"}]}, file)
        return file.name

    def owners(self):
        """Bucket -> shard, by the map."""
        state, _ = self.shardctl("map", "show")
        return {entry["bucket"]: entry["shard"] for entry in state["buckets"]}

    # MARK: etcd

    def journal(self):
        """Every move that the journal knows, by name."""
        return self.journal_since(0)[0]

    def journal_since(self, revision):
        """The moves whose entries were written after a revision of etcd, and the revision of now."""
        end = JOURNAL[:-1] + chr(ord(JOURNAL[-1]) + 1)
        found = self._etcd("/v3/kv/range", {
            "key": _text(JOURNAL), "range_end": _text(end), "min_mod_revision": str(revision + 1)})
        moves = {_plain(pair["key"])[len(JOURNAL):]: json.loads(_plain(pair["value"]))
                 for pair in found.get("kvs", [])}
        return moves, int(found["header"]["revision"])

    def leader(self):
        """The record of who leads; None if nobody does."""
        found = self._etcd("/v3/kv/range", {"key": _text(LEADER)}).get("kvs")
        return json.loads(_plain(found[0]["value"])) if found else None

    def _etcd(self, path, body):
        """One call of the gateway; a kept connection, since the journal is looked at often."""
        try:
            if not self._etcd_token:
                credentials = {"name": "tessera", "password": self.secret("etcd-tessera")}
                self._etcd_token = self._post("/v3/auth/authenticate", credentials).get("token")
            return self._post(path, body)
        except (OSError, ValueError, http.client.HTTPException) as error:
            self._etcd_token = self._gateway = None
            raise Unanswered(f"etcd: {error}") from None

    def _post(self, path, body):
        if not self._gateway:
            self._gateway = http.client.HTTPConnection(
                "127.0.0.1", self.base + ETCD_PORT, timeout=5)
        headers = {"Authorization": self._etcd_token} if self._etcd_token else {}
        self._gateway.request("POST", path, json.dumps(body), headers)
        answer = self._gateway.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise ValueError(text[:200].decode(errors="replace"))
        return json.loads(text)

    # MARK: PostgreSQL

    def shards(self):
        return [f"s{number}" for number in self.settings["shard_numbers"]]

    def psql_command(self, shard, database="tessera", program="psql"):
        return [program, "-h", "127.0.0.1", "-p", str(self.base + SHARD_PORTS + int(shard[1:])),
                "-U", "mover", "-d", database]

    @property
    def environment(self):
        return {**os.environ, "PGPASSWORD": self.secret("postgres-mover"), "PGCONNECT_TIMEOUT": "5"}

    def sql(self, shard, text, database="tessera"):
        run = subprocess.run(
            [*self.psql_command(shard, database), "-XqAt", "-v", "ON_ERROR_STOP=1", "-f", "-"],
            input=text, text=True, capture_output=True, env=self.environment)
        if run.returncode:
            raise Unanswered(f"{shard}: {run.stderr.strip()[-300:]}")
        return run.stdout

    def owner_rows(self, shard):
        """Bucket -> (state, epoch) of one shard's own rows."""
        rows = self.sql(shard, "SELECT bucket, state, epoch FROM control.bucket_owner")
        return {int(bucket): (state, int(epoch))
                for bucket, state, epoch in (line.split("|") for line in rows.splitlines())}

    # MARK: Processes

    def processes(self):
        """Name -> process id of what runs under supervision."""
        return {process["name"]: process["pid"] for process in self.status()["processes"] if process.get("pid")}

    def status(self):
        """What cluster/status tells programs."""
        run = subprocess.run(
            [str(ROOT / "cluster" / "status"), "--json"], capture_output=True, text=True,
            env={**os.environ, "TESSERA_HOME": str(self.home)})
        try:
            return json.loads(run.stdout)
        except ValueError:
            raise Unanswered(f"cluster/status: {run.stderr.strip()}") from None


def _text(text):
    return base64.b64encode(text.encode()).decode()


def _plain(text):
    return base64.b64decode(text).decode()

