"""down, destroy, status, logs and restart."""
import argparse
import json
import os
import shutil
import sys
import time

from . import balancer, nodes, scaling
from .console import Failure, step
from .layout import Layout, Settings, database_home, state_folder
from .processes import Supervisor

LOG_LINES = 100
# What says that a folder is a cluster's state, and where the rest of it is: deleted last, so that a destroy which was
# interrupted can be run again.
LAST_FILES = ("settings.json", "database-home", "lock")


def down():
    layout = Layout.load()
    supervisor = Supervisor(layout)
    if not supervisor.alive:
        step("the cluster is down")
        return
    # The balancer first, so that clients get refused connections and not broken ones.
    running = {name for name, process in supervisor.processes().items() if process["pid"]}
    for group in ([layout.balancer], layout.roles, layout.infrastructure):
        names = [node.name for node in group if node.name in running]
        if names:
            supervisor.stop_processes(names)
            step(f"stopped: {', '.join(names)}")
    supervisor.shut_down()
    step(f"the cluster is down; its state stays in {layout.home}")


def destroy():
    home = state_folder()
    if not (home / "settings.json").exists() and any(home.iterdir()):
        known = {"lock", "checkout", "packages.log", "build.log", "secrets", "tls", "shards",
                 "logs", "config", "bin", "etcd", "objects", "run", "map", "database-home", "rebalance.json", "man"}
        strangers = sorted(path.name for path in home.iterdir() if path.name not in known)
        if strangers:
            raise Failure(f"{home} does not look like a cluster's state (there is {strangers[0]});"
                          " nothing was deleted")
    settings, _ = Settings.read(home)
    layout = Layout(settings, home)
    if Supervisor(layout).alive:
        down()
    for path in (database_home(home), layout.run, *home.iterdir()):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name not in LAST_FILES:
            path.unlink(missing_ok=True)
    if not any(path.name not in LAST_FILES for path in home.iterdir()) and not database_home(home).exists():
        shutil.rmtree(home, ignore_errors=True)
    if home.exists():
        raise Failure(f"not all of {home} could be deleted; some files belong to somebody else")
    step(f"{home} is deleted")


def status(arguments):
    parser = argparse.ArgumentParser(prog="cluster/status")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args(arguments)
    layout = Layout.load()
    rows = _rows(layout)
    healthy = all(row["state"] == "running" for row in rows)
    ready = nodes.answers(f"{layout.url}/readyz") == 200
    if options.json:
        print(json.dumps({
            "home": str(layout.home), "url": layout.url, "secure_url": layout.secure_url,
            "ready": ready, "pools": _pools(layout), "processes": rows}))
    else:
        print(f"{'PROCESS':20}{'STATE':10}{'PID':>8}{'PORT':>7}{'METRICS':>9}  UP")
        for row in rows:
            print(f"{row['name']:20}{row['state']:10}{row['pid'] or '-':>8}"
                  f"{row['port'] or '-':>7}{row['metrics_port'] or '-':>9}"
                  f"  {_age(row['seconds']) if row['pid'] else '-'}")
        print(f"\n{'POOL':20}{'NODES':10}{'UP':>8}{'REQUESTS':>9}")
        for pool in _pools(layout):
            print(f"{pool['service']:20}{pool['nodes']:<10}{pool['up']:>8}{pool['requests']:>9}")
        print(f"\n{layout.url} {'is ready' if ready else 'is not ready'}")
    if not (healthy and ready):
        sys.exit(1)


def _rows(layout):
    processes = Supervisor(layout).processes()
    rows = []
    for node in layout.nodes:
        process = processes.get(node.name, {})
        seconds = process.get("now", 0) - process.get("start", 0) if process.get("pid") else 0
        rows.append({
            "name": node.name, "state": process.get("statename", "stopped").lower(),
            "pid": process.get("pid", 0), "port": node.port, "metrics_port": node.metrics_port,
            "seconds": seconds, "log": str(layout.log(node.name))})
    return rows


def _pools(layout):
    """Each service's nodes as the balancer sees them, and the requests that they have."""
    known = balancer.servers(layout)
    rows = []
    for service in layout.pools:
        mine = [known.get(node.name, ("", 0)) for node in layout.pool(service)]
        rows.append({"service": service, "nodes": len(mine),
                     "up": sum(state.startswith("UP") for state, _ in mine),
                     "requests": sum(requests for _, requests in mine)})
    return rows


def _age(seconds):
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def logs(arguments):
    parser = argparse.ArgumentParser(prog="cluster/logs")
    parser.add_argument("name", help="a process as in cluster/status, or supervisord")
    parser.add_argument("-f", "--follow", action="store_true", help="go on as lines come")
    parser.add_argument("-n", "--lines", type=int, default=LOG_LINES)
    options = parser.parse_args(arguments)
    layout = Layout.load()
    file = layout.log(options.name)
    if not file.exists():
        raise Failure(f"{options.name} has no log; the names are: supervisord,"
                      f" {', '.join(node.name for node in layout.nodes)}")
    follow = ["-F"] if options.follow else []
    os.execvp("tail", ["tail", "-n", str(options.lines), *follow, str(file)])


def restart(arguments):
    parser = argparse.ArgumentParser(prog="cluster/restart")
    parser.add_argument(
        "name", help="a process (app1), a service's pool (core, media), or a group (worker, coordinator, shard, memcached)")
    name = parser.parse_args(arguments).name
    layout = Layout.load()
    supervisor = Supervisor(layout)
    if not supervisor.alive:
        raise Failure("the cluster is down; cluster/up starts it")
    chosen = [node for node in layout.nodes
              if name in (node.name, node.service, node.name.split("-")[0].rstrip("0123456789"))]
    if not chosen:
        raise Failure(f"{name} is no process; the names are:"
                      f" {', '.join(node.name for node in layout.nodes)}")
    for service in layout.pools:
        mine = [node for node in chosen if node.service == service]
        if mine:
            scaling.restart_pool(layout, supervisor, service, mine)
    for node in chosen:
        started = time.monotonic()
        if node.name == "haproxy":
            balancer.reload(supervisor)
            step("haproxy: reloaded (new processes, the same sockets)")
        elif not node.service:
            nodes.restart(layout, supervisor, node, layout.settings.start_seconds)
            step(f"{node.name}: restarted in {time.monotonic() - started:.1f} s")
