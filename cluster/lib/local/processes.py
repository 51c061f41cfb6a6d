"""The process tree: one supervisord of the cluster's own, with every process in the foreground below it.

The supervisor is spoken to over its socket; nothing is ever signalled by name.
"""
import http.client
import os
import resource
import shutil
import socket
import subprocess
import time
import xmlrpc.client

from .console import Failure
from .layout import CACHE_POOLS, POOLS, POSTGRES_BINARIES, database_user
from .templates import render, write_if_changed

OPEN_FILES = 65536
# A process that does not stop is killed by supervisord before this.
STOP_SECONDS = 60
RUNNING = ("RUNNING", "STARTING", "BACKOFF")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=120)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path):
        super().__init__()
        self.path = path

    def make_connection(self, host):
        return _UnixConnection(self.path)


class Supervisor:
    """The supervisord of one cluster."""

    def __init__(self, layout):
        self.layout = layout
        self.file = layout.config / "supervisord.conf"
        transport = _UnixTransport(str(layout.supervisor_socket))
        self.server = xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=transport)

    @property
    def alive(self):
        try:
            self.server.supervisor.getState()
            return True
        except TimeoutError:
            # It lives, with all that runs below it: nothing may be begun, or deleted, as if it did not.
            raise Failure(f"supervisord does not answer; see {self.layout.log('supervisord')}") from None
        except (OSError, http.client.HTTPException):
            return False
        except xmlrpc.client.Fault:
            # It is shutting down.
            return True

    def write(self):
        """Writes the configuration; supervisord looks at it when it starts or is told to `adopt`."""
        layout = self.layout
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        limit = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
        text = render(
            "supervisord.conf",
            socket=layout.supervisor_socket, log=layout.log("supervisord"), logs=layout.logs,
            pidfile=layout.run / "supervisord.pid", open_files=limit)
        programs = [program(layout, node) for node in layout.nodes]
        return write_if_changed(self.file, text + "".join(programs))

    def start(self):
        if self.alive:
            return False
        command = shutil.which("supervisord")
        if not command:
            raise Failure("supervisord is missing; run cluster/up without SKIP_PACKAGES")
        run = subprocess.run(
            [command, "-c", str(self.file)], capture_output=True, text=True, check=False,
            cwd="/", stdin=subprocess.DEVNULL)
        if run.returncode:
            raise Failure(f"supervisord does not start: {(run.stderr or run.stdout).strip()}")
        wait_for(lambda: self.alive, 10, "supervisord", self.layout.log("supervisord"))
        return True

    def adopt(self):
        """Takes over the written configuration: new programs are added, none is restarted."""
        added, _, _ = self.server.supervisor.reloadConfig()[0]
        for name in added:
            self.server.supervisor.addProcessGroup(name)
        return added

    def processes(self):
        try:
            return {p["name"]: p for p in self.server.supervisor.getAllProcessInfo()}
        except (OSError, http.client.HTTPException, xmlrpc.client.Fault):
            return {}

    def start_process(self, name):
        """False if it was running."""
        if self.processes()[name]["statename"] in RUNNING:
            return False
        try:
            self.server.supervisor.startProcess(name, False)
        except xmlrpc.client.Fault as fault:
            raise Failure(f"{name} cannot be started: {fault.faultString}") from None
        return True

    def stop_processes(self, names):
        """Tells all of them to stop, then waits until all have."""
        for name in names:
            try:
                self.server.supervisor.stopProcess(name, False)
            except xmlrpc.client.Fault as fault:
                if "NOT_RUNNING" not in fault.faultString:
                    raise Failure(f"{name} cannot be stopped: {fault.faultString}") from None
        wait_for(lambda: not any(self.pid(name) for name in names), STOP_SECONDS,
                 f"the end of {', '.join(names)}", self.layout.log("supervisord"))

    def remove(self, name):
        """Stops a process and forgets it."""
        self.stop_processes([name])
        self.server.supervisor.removeProcessGroup(name)

    def pid(self, name):
        return self.processes().get(name, {}).get("pid", 0)

    def shut_down(self):
        """Stops the supervisor itself, when its processes are stopped."""
        pid = self.server.supervisor.getPID()
        self.server.supervisor.shutdown()
        wait_for(lambda: not os.path.exists(f"/proc/{pid}"), STOP_SECONDS,
                 "the end of supervisord", self.layout.log("supervisord"))


def wait_for(condition, seconds, what, log):
    """Waits for a condition, never for a time; what did not come is named together with its log."""
    deadline = time.monotonic() + seconds
    while True:
        if condition():
            return
        if time.monotonic() > deadline:
            raise Failure(f"{what} did not come within {seconds} s; see {log}{last_line(log)}")
        time.sleep(0.05)


def last_line(log):
    try:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return ""
    return f" (last line: {lines[-1][:200]})" if lines else ""


def program(layout, node):
    """The section of one process."""
    kind = node.name.rstrip("0123456789")
    command, extra = _COMMANDS[kind.split("-")[0]](layout, node)
    lines = {
        "command": command,
        "autostart": "false",
        "autorestart": "true",
        "startsecs": "1",
        # A process that was killed while it started is tried again for as long as it takes.
        "startretries": "1000000",
        "stopwaitsecs": "30",
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": str(layout.log(node.name)),
        "stdout_logfile_maxbytes": "20MB",
        "stdout_logfile_backups": "2",
        **extra,
    }
    body = "\n".join(f"{key}={_escape(value)}" for key, value in lines.items())
    return f"\n[program:{node.name}]\n{body}\n"


def _escape(value):
    return str(value).replace("%", "%%")


def _etcd(layout, node):
    url, peer = f"http://127.0.0.1:{node.port}", f"http://127.0.0.1:{layout.etcd_peer_port}"
    return " ".join([
        "/usr/bin/etcd", "--name local", f"--data-dir {quote(layout.etcd_data)}",
        f"--listen-client-urls {url}", f"--advertise-client-urls {url}",
        f"--listen-peer-urls {peer}", f"--initial-advertise-peer-urls {peer}",
        f"--initial-cluster local={peer}", "--auto-compaction-mode revision",
        "--auto-compaction-retention 1000", "--quota-backend-bytes 268435456",
        # Its passwords are long and random, so that a cheap hash is as good; each command logs in anew.
        "--bcrypt-cost 4", "--logger zap",
    ]), {"priority": 10}


def _nats(layout, node):
    return f"/usr/sbin/nats-server -c {quote(layout.config / 'nats.conf')}", {"priority": 15}


def _shard(layout, node):
    extra = {"priority": 20, "stopsignal": "INT"}
    if os.geteuid() == 0:
        extra["user"] = database_user()
    return f"{POSTGRES_BINARIES}/postgres -D {quote(layout.shard_data(node))}", extra


def _memcached(layout, node):
    user = "-u memcache " if os.geteuid() == 0 else ""
    megabytes = CACHE_POOLS[node.pool][1]
    # -U 0: no UDP; -c: the connections of all loops of all nodes.
    return (f"/usr/bin/memcached {user}-l 127.0.0.1 -p {node.port} -U 0 -m {megabytes} -t 2"
            " -c 4096", {"priority": 30})


def _appnode(layout, node):
    return (f"{quote(layout.binaries / 'appnode')} --config"
            f" {quote(layout.config / (node.name + '.yaml'))}",
            {"priority": 40, "stopsignal": "TERM"})


def _worker(layout, node):
    return (f"{quote(layout.binaries / 'worker')} --config"
            f" {quote(layout.config / (node.name + '.yaml'))}",
            {"priority": 50, "stopsignal": "TERM"})


def _coordinator(layout, node):
    return (f"{quote(layout.binaries / 'coordinator')} --config"
            f" {quote(layout.config / (node.name + '.yaml'))}",
            {"priority": 55, "stopsignal": "TERM"})


def _haproxy(layout, node):
    return (f"/usr/sbin/haproxy -W -f {quote(layout.config / 'haproxy.cfg')}",
            {"priority": 60, "stopsignal": "USR1", "stopwaitsecs": "10"})


_COMMANDS = {
    "etcd": _etcd, "nats": _nats, "shard": _shard, "memcached": _memcached,
    "worker": _worker, "coordinator": _coordinator, "haproxy": _haproxy,
    **{name: _appnode for name in POOLS.values()},
}


def quote(path):
    return f'"{path}"' if " " in str(path) else str(path)
