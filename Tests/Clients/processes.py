"""The running cluster as its operator has it: which processes there are, and what happens to them."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

from people import eventually

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Cluster:
    """The cluster of TESSERA_HOME, through the commands that a person types."""

    def __init__(self):
        listing = self.listing()
        self.home = pathlib.Path(listing["home"])
        self.url = listing["url"]
        self.secure_url = listing["secure_url"]
        self.authority = self.home / "tls" / "ca.pem"

    def listing(self):
        run = subprocess.run(
            [ROOT / "cluster" / "status", "--json"], capture_output=True, text=True, check=False)
        assert run.stdout, f"cluster/status does not answer: {run.stderr}"
        return json.loads(run.stdout)

    def process(self, name):
        return next(row for row in self.listing()["processes"] if row["name"] == name)

    def names(self, prefix):
        return [row["name"] for row in self.listing()["processes"]
                if row["name"].startswith(prefix)]

    def pid(self, name):
        return self.process(name)["pid"]

    def kill(self, name):
        """kill -9, as a crash; the supervisor starts it again."""
        pid = self.pid(name)
        assert pid, f"{name} does not run"
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_for_new(self, name, old_pid):
        eventually(lambda: self.pid(name) not in (0, old_pid), f"{name} started again")

    def wait_until_ready(self, seconds=60):
        eventually(lambda: self.listing()["ready"], "readiness of the cluster", seconds)

    def pause(self, name):
        os.kill(self.pid(name), signal.SIGSTOP)

    def resume(self, name):
        os.kill(self.pid(name), signal.SIGCONT)

    def stop(self, name):
        """Stops a process in order, and keeps it stopped."""
        self._supervisor("stop", name)

    def start(self, name):
        self._supervisor("start", name)

    def restart(self, name):
        subprocess.run([ROOT / "cluster" / "restart", name], check=True, capture_output=True)

    def up(self, **settings):
        environment = {**os.environ, "SKIP_PACKAGES": "1", "SKIP_BUILD": "1"}
        environment.update({key: str(value) for key, value in settings.items()})
        run = subprocess.run(
            [ROOT / "cluster" / "up"], env=environment, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout

    def _supervisor(self, action, name):
        run = subprocess.run(
            ["supervisorctl", "-c", self.home / "config" / "supervisord.conf", action, name],
            capture_output=True, text=True, check=False)
        assert "ERROR" not in run.stdout or "already" in run.stdout, run.stdout

    def command(self, *words, expect=(0,), seconds=400):
        """A command of cluster/, without a terminal."""
        run = subprocess.run(
            [ROOT / "cluster" / words[0], *words[1:]], capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, timeout=seconds)
        assert run.returncode in expect, f"{words}: {run.returncode}\n{run.stdout}{run.stderr}"
        return run

    def shardctl(self, *words, expect=(0,)):
        """What shardctl answers to a program."""
        return json.loads(self.command("shardctl", *words, "--json", expect=expect).stdout)

    def buckets(self):
        """Shard -> how many buckets the map gives it."""
        return {shard["shard"]: shard["buckets"] for shard in self.shardctl("shard", "list")["shards"]}

    def failpoints(self):
        """The folder in which a file stops a coordinator or a worker at a step, or None."""
        environment = pathlib.Path(f"/proc/{self.pid('app1')}/environ").read_bytes().split(b"\0")
        for variable in environment:
            if variable.startswith(b"TESSERA_FAILPOINTS="):
                return pathlib.Path(variable.split(b"=", 1)[1].decode())
        return None

    def has_failpoints(self):
        environment = pathlib.Path(f"/proc/{self.pid('app1')}/environ").read_bytes()
        return b"TESSERA_ALLOW_FAILPOINTS=1" in environment.split(b"\0")

    def sql(self, shard, statement):
        """Asks one shard as its superuser; rows as lists of strings."""
        password = (self.home / "secrets" / "postgres-mover").read_text().strip()
        port = self.process(shard)["port"]
        run = subprocess.run(
            ["psql", "-XqAt", "-F", "\t", "-h", "127.0.0.1", "-p", str(port), "-U", "mover",
             "-d", "tessera", "-v", "ON_ERROR_STOP=1", "-c", statement],
            env={**os.environ, "PGPASSWORD": password}, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        return [line.split("\t") for line in run.stdout.splitlines()]

    def shard_of(self, person):
        """The shard on which a person lives, by its row."""
        for shard in self.names("shard"):
            if self.sql(shard, f"SELECT 1 FROM accounts.account WHERE id = {person.id}"):
                return shard
        raise AssertionError(f"no shard has {person.name}")

    def flush_caches(self):
        for row in self.listing()["processes"]:
            if row["name"].startswith("memcached"):
                with socket.create_connection(("127.0.0.1", row["port"]), 5) as connection:
                    connection.sendall(b"flush_all\r\n")
                    assert connection.recv(64) == b"OK\r\n"

    def log_since(self, name, offset=0):
        return (self.home / "logs" / f"{name}.log").read_bytes()[offset:].decode(errors="replace")


def stopwatch():
    started = time.monotonic()
    return lambda: time.monotonic() - started
