"""App nodes, workers and coordinators: their configuration, their readiness, and restarts that lose no request."""
import json
import os
import subprocess
import urllib.error
import urllib.request

from . import balancer, budget
from .bus import USER as BUS_USER
from .catalog import USER
from .console import Failure
from .layout import CACHE_POOLS
from .processes import wait_for
from .templates import render, write_if_changed

DRAIN_SECONDS = 20
# How long the balancer's requests on a node that leaves are waited for; what is still there then is for ever (a
# WebSocket), and the node itself ends it.
IDLE_SECONDS = 5


def write(layout):
    """Writes a file for each node; returns the names of those whose file changed."""
    texts = {}
    for node in layout.app_nodes:
        texts[node.name] = render(
            "appnode.yaml", services=json.dumps(layout.services(node)), port=node.port,
            peers_url=f"http://127.0.0.1:{layout.peers_port}", public_url=layout.url, postgres_user="app",
            drain_seconds=DRAIN_SECONDS, **_shared(layout, node))
    for node in layout.workers:
        texts[node.name] = render(
            "worker.yaml", postgres_user="worker", public_url=layout.url,
            push_threshold=layout.settings.feed_push_threshold, drain_seconds=DRAIN_SECONDS,
            **_shared(layout, node))
    for node in layout.coordinators:
        texts[node.name] = render(
            "coordinator.yaml", coordinator=node.name, metrics_port=node.metrics_port,
            postgres_password=layout.secrets / "postgres-mover",
            megabytes=layout.settings.move_megabytes_per_second,
            retention=layout.settings.move_retention_seconds, **_etcd(layout))
    changed = [name for name, text in texts.items()
               if write_if_changed(layout.config / f"{name}.yaml", text)]
    write_if_changed(layout.config / "shardctl.yaml", render("shardctl.yaml", **_etcd(layout)))
    return changed


def _shared(layout, node):
    role = "app" if node.service else "worker"
    caches = {f"cache_{pool}": json.dumps(layout.cache_addresses(pool)) for pool in CACHE_POOLS}
    return {
        "metrics_port": node.metrics_port,
        "map_cache": layout.home / "map" / f"{node.name}.json",
        "postgres_password": layout.secrets / f"postgres-{role}",
        "objects": layout.objects,
        "token_keys": layout.secrets / "token-keys",
        "bus_address": f"127.0.0.1:{layout.bus.port}",
        "bus_user": BUS_USER,
        "bus_password": layout.secrets / "nats-tessera",
        "loops": budget.loops(layout),
        **_etcd(layout), **caches,
    }


def _etcd(layout):
    return {
        "etcd_endpoint": f"http://127.0.0.1:{layout.etcd.port}",
        "etcd_user": USER,
        "etcd_password": layout.secrets / "etcd-tessera",
        "secrets": layout.secrets,
    }


def answers(url, seconds=2):
    """The status code, or 0 if nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=seconds) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, ValueError):
        return 0


def is_ready(node):
    if node.port:
        return answers(f"http://127.0.0.1:{node.port}/readyz") == 200
    return answers(f"http://127.0.0.1:{node.metrics_port}/metrics") == 200


def wait_ready(layout, supervisor, node, seconds):
    def check():
        state = supervisor.processes().get(node.name, {}).get("statename")
        if state in ("FATAL", "STOPPED"):
            raise Failure(f"{node.name} is {state}; see {layout.log(node.name)}")
        return is_ready(node)

    wait_for(check, seconds, f"{node.name} (ready)", layout.log(node.name))


def runs_old_binary(supervisor, layout, node):
    """True if a process was started from a binary that has been replaced since."""
    pid = supervisor.pid(node.name)
    if not pid:
        return False
    try:
        return os.readlink(f"/proc/{pid}/exe").endswith("(deleted)")
    except OSError:
        return False


def services(layout):
    """Node -> the services that its file has it run; nothing for one that has no file, or an old one."""
    found = {}
    for node in layout.app_nodes:
        try:
            text = (layout.config / f"{node.name}.yaml").read_text()
        except FileNotFoundError:
            continue
        lines = [line for line in text.splitlines() if line.startswith("services: ")]
        if lines:
            found[node.name] = set(json.loads(lines[0].removeprefix("services: ")))
    return found


def restart(layout, supervisor, node, seconds):
    """Restarts one process; an app node first leaves the rotation and finishes what it has."""
    is_app = node in layout.app_nodes
    if is_app and len(layout.pool(node.service)) > 1:
        leave(layout, node)
    supervisor.stop_processes([node.name])
    supervisor.start_process(node.name)
    if node in layout.roles:
        wait_ready(layout, supervisor, node, seconds)
    if is_app and balancer.set_state(layout, node, "ready"):
        balancer.wait_until_in_rotation(layout, node, seconds)


def leave(layout, node):
    """No new requests for an app node, and the end of those that it has."""
    if balancer.set_state(layout, node, "drain"):
        balancer.wait_until_idle(layout, node, IDLE_SECONDS)


def shard_options(layout):
    return [f"--shard=s{node.index}=127.0.0.1:{node.port}" for node in layout.shards]


def has_map(layout):
    """False if etcd answers and holds no map."""
    run = subprocess.run(
        [str(layout.binaries / "shardctl"), "map", "show", "--config",
         str(layout.config / "shardctl.yaml")], capture_output=True, text=True, check=False)
    return run.returncode != 73


def shardctl(layout, *arguments):
    """Runs the operator's tool with this cluster's configuration and returns what it printed."""
    run = subprocess.run(
        [str(layout.binaries / "shardctl"), *arguments, "--config",
         str(layout.config / "shardctl.yaml")],
        capture_output=True, text=True, check=False)
    if run.returncode:
        lines = (run.stderr or run.stdout).strip().splitlines()
        raise Failure(f"shardctl {arguments[0]} failed: {lines[-1] if lines else run.returncode}")
    return run.stdout


