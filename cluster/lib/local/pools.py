"""Cache pools: their maps in etcd, and memcached nodes that come and go while the pools are used.

`shardctl pool` leads a pool from one set of nodes to another; here the processes are started before, and stopped after.
"""
from . import control, nodes, ports
from .console import REFUSED, UNAVAILABLE, Failure, step
from .layout import CACHE_POOLS, LARGEST_CACHE_NUMBER
from .processes import wait_for


def register(layout, is_new):
    """Stores the map of each pool that has none. In a cluster that is not new etcd has lost it: then nobody knows what
    the nodes hold, and they are emptied."""
    known = _maps(layout)
    made = [pool for pool in CACHE_POOLS if pool not in known]
    for pool in made:
        restoring = [] if is_new else ["--restore"]
        nodes.shardctl(layout, "pool", "init", pool, *layout.cache_addresses(pool), *restoring)
    return made


def new_numbers(layout, pool, count):
    """Numbers that were never used, while there are any."""
    used = set(layout.settings.cache_numbers[pool])
    fresh = list(range(max(used) + 1, LARGEST_CACHE_NUMBER + 1))
    gaps = [number for number in range(1, max(used)) if number not in used]
    if len(fresh) + len(gaps) < count:
        raise Failure(f"a pool of a local cluster has at most {LARGEST_CACHE_NUMBER} nodes", REFUSED)
    return (fresh + gaps)[:count]


def preflight(layout, task):
    """Everything that can be refused before anything is changed."""
    state = _maps(layout).get(task.pool)
    if not state:
        raise Failure(f"{task.pool} has no map; cluster/up stores it", REFUSED)
    if state["phase"] != "steady":
        raise Failure(f"{task.pool} is being changed ({state['phase']}); shardctl pool finish {task.pool}"
                      f" or shardctl pool abandon {task.pool}", REFUSED)
    silent = [one["node"] for one in state["nodes"] if not ports.is_open(int(one["node"].rpartition(":")[2]))]
    if silent:
        raise Failure(f"{silent[0]} of {task.pool} does not answer; see cluster/status", UNAVAILABLE)
    ports.require_free(layout.cache(task.pool, number) for number in task.coming)


def change(layout, supervisor, task):
    """Each step may be done again: a process that runs, a node that the pool has, a change that was begun."""
    warm = [] if task.warm is None else ["--warm", str(task.warm)]
    for number in task.coming:
        node = _start(layout, supervisor, task.pool, number)
        _lead(layout, task.pool, _address(node), "add", warm)
    for number in task.leaving:
        node = layout.cache(task.pool, number)
        _lead(layout, task.pool, _address(node), "remove", warm)
        _stop(layout, supervisor, task.pool, node)


def _lead(layout, pool, address, verb, warm):
    """Has the pool take an address in, or leave it."""
    if _maps(layout)[pool]["phase"] != "steady":
        control.run(layout, "pool", "finish", pool, *warm)
    addresses = [one["node"] for one in _maps(layout)[pool]["nodes"]]
    if (address in addresses) != (verb == "add"):
        control.run(layout, "pool", verb, pool, address, *warm)


def _start(layout, supervisor, pool, number):
    numbers = layout.settings.cache_numbers[pool]
    if number not in numbers:
        _keep(layout, pool, (*numbers, number))
    node = layout.cache(pool, number)
    supervisor.write()
    supervisor.adopt()
    if supervisor.start_process(node.name):
        step(f"started: {node.name}")
    wait_for(lambda: ports.is_open(node.port), layout.settings.start_seconds, node.name,
             layout.log(node.name))
    return node


def _stop(layout, supervisor, pool, node):
    numbers = layout.settings.cache_numbers[pool]
    _keep(layout, pool, tuple(number for number in numbers if number != node.index))
    if node.name in supervisor.processes():
        supervisor.remove(node.name)
    supervisor.write()
    step(f"{node.name}: stopped")


def _keep(layout, pool, numbers):
    """Also where a process that starts without etcd looks."""
    layout.settings.cache_numbers = {**layout.settings.cache_numbers, pool: numbers}
    layout.settings.keep(layout.home)
    nodes.write(layout)


def _maps(layout):
    return {one["pool"]: one for one in control.ask(layout, "pool", "list")["pools"]}


def _address(node):
    return f"127.0.0.1:{node.port}"
