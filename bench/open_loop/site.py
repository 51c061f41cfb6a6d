"""The running cluster from its operator's side: shardctl, the journal of moves, owner rows, processes."""
import base64
import json
import os
import pathlib
import subprocess
import tempfile
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
JOURNAL = "/tessera/coordinator/moves/"
LEADER = "/tessera/coordinator/leader"
SHARD_PORTS, ETCD_PORT = 200, 79


class Unanswered(Exception):
    """A part of the cluster does not answer; the message says which."""


class Cluster:
    def __init__(self):
        self.home = pathlib.Path(os.environ.get("TESSERA_HOME", ROOT / ".tessera"))
        try:
            self.settings = json.loads((self.home / "settings.json").read_text())
        except OSError:
            raise Unanswered(f"there is no cluster in {self.home}; cluster/up makes one") from None
        self.base = self.settings["port_base"]
        self.http_port = int(os.environ.get("HTTP_PORT", self.settings["http_port"]))
        self._etcd_token = None

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
        return {bucket: shard["shard"] for shard in state["shards"] for bucket in shard["buckets"]}

    # MARK: etcd

    def journal(self):
        """Every move that the journal knows, by name."""
        end = JOURNAL[:-1] + chr(ord(JOURNAL[-1]) + 1)
        found = self._etcd("/v3/kv/range", {"key": _text(JOURNAL), "range_end": _text(end)})
        return {_plain(pair["key"])[len(JOURNAL):]: json.loads(_plain(pair["value"]))
                for pair in found.get("kvs", [])}

    def leader(self):
        """The record of who leads; None if nobody does."""
        found = self._etcd("/v3/kv/range", {"key": _text(LEADER)}).get("kvs")
        return json.loads(_plain(found[0]["value"])) if found else None

    def _etcd(self, path, body):
        url = f"http://127.0.0.1:{self.base + ETCD_PORT}"
        try:
            if not self._etcd_token:
                credentials = {"name": "tessera", "password": self.secret("etcd-tessera")}
                self._etcd_token = _post(url + "/v3/auth/authenticate", credentials).get("token")
            return _post(url + path, body, self._etcd_token)
        except (OSError, ValueError) as error:
            self._etcd_token = None
            raise Unanswered(f"etcd: {error}") from None

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
        run = subprocess.run(
            [str(ROOT / "cluster" / "status"), "--json"], capture_output=True, text=True,
            env={**os.environ, "TESSERA_HOME": str(self.home)})
        try:
            listing = json.loads(run.stdout)["processes"]
        except (ValueError, KeyError):
            raise Unanswered(f"cluster/status: {run.stderr.strip()}") from None
        return {process["name"]: process["pid"] for process in listing if process.get("pid")}


def _text(text):
    return base64.b64encode(text.encode()).decode()


def _plain(text):
    return base64.b64decode(text).decode()


def _post(url, body, token=None):
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Authorization": token} if token else {})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.loads(answer.read())
