"""How many connections the processes open to each shard, against what a shard takes."""
import os
import re

from .console import REFUSED, Failure
from .layout import TEMPLATES

# As Database opens them, on each event loop to each shard: reads, writes, transactions.
APP_CONNECTIONS = 5
WORKER_CONNECTIONS = 5
# What the leader's moves, its watch and an operator's commands need at most.
CONTROL_CONNECTIONS = 30


def loops(layout):
    """Event loops of each process: one for each core, or as many as the shards have connections for."""
    chosen = os.environ.get("TESSERA_LOOPS")
    if chosen:
        if not chosen.isdecimal() or not int(chosen):
            raise Failure(f"TESSERA_LOOPS={chosen} is not a number above 0")
        return int(chosen)
    cores = len(os.sched_getaffinity(0))
    return max(1, min(cores, (_room(layout) - CONTROL_CONNECTIONS) // _for_each_loop(layout)))


def check(layout):
    """Refuses more processes than the shards have connections for."""
    demand = loops(layout) * _for_each_loop(layout) + CONTROL_CONNECTIONS
    if demand > _room(layout):
        raise Failure(
            f"{len(layout.app_nodes)} app nodes and {layout.settings.workers} workers would open {demand}"
            f" connections to each shard, which takes {_room(layout)}; ask for fewer, or raise"
            f" max_connections in cluster/templates/postgresql.conf and in tessera.conf of each shard",
            REFUSED)


def _for_each_loop(layout):
    return (APP_CONNECTIONS * len(layout.app_nodes)
            + WORKER_CONNECTIONS * layout.settings.workers)


def _room(layout):
    """The smallest max_connections of the shards that exist and of those to come."""
    files = [TEMPLATES / "postgresql.conf"]
    files += [layout.shard_data(node) / "tessera.conf" for node in layout.shards]
    rooms = []
    for file in files:
        try:
            text = file.read_text()
        except OSError:
            # Not made yet: it will be as the template says.
            continue
        rooms.append(_setting(text, "max_connections") - _setting(text, "superuser_reserved_connections"))
    return min(rooms)


def _setting(text, name):
    return int(re.findall(rf"^{name} = (\d+)", text, re.MULTILINE)[-1])
