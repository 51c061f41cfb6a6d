"""grow, shrink and replace: shards and cache nodes come and go while the cluster serves.

What was begun is written down first (`rebalance.json` in the state folder), and every step may be done again:
the same command, run again after it was killed anywhere, goes on to the end. Nothing else is begun before.
"""
import argparse
import contextlib
import dataclasses
import json
import shutil
import time

from . import budget, control, nodes, pools, ports, shards
from .console import FAILED, REFUSED, UNAVAILABLE, UNFINISHED, USAGE, Failure, confirm, step
from .folders import FREE_BYTES
from .layout import CACHE_POOLS, CHECKOUT, LARGEST_SHARD_NUMBER, MOST, Layout
from .processes import Supervisor, wait_for

# A fresh shard with its schemas, and the WAL that a copy leaves until it is recycled.
NEW_SHARD_BYTES = 192 << 20
# Plans carried out before what is left over is called a failure: users go on writing while buckets move.
MOST_PLANS = 5
# How long nodes may take to let go of a shard that has left the map.
RELEASE_SECONDS = 30
# How long a stand-by may take to lead, and the last move to be tidied up.
CONTROL_SECONDS = 60
ELECTION_SECONDS = 15


@dataclasses.dataclass
class Task:
    """What was begun, by which command, and the numbers of the shards that come and of those that go."""

    command: str
    coming: list
    leaving: list
    # Whether the buckets are left where they are.
    empty: bool = False
    # The numbers are those of this cache pool's nodes, not of shards.
    pool: str = ""
    # Seconds for which new nodes of the pool are filled from the old ones; as long as values live if None.
    warm: int | None = None

    @staticmethod
    def pending(layout):
        try:
            return Task(**json.loads(_file(layout).read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            raise Failure(f"{_file(layout)} is damaged; compare shardctl status with cluster/status,"
                          " then delete it", REFUSED) from None

    def keep(self, layout):
        new = _file(layout).with_suffix(".new")
        new.write_text(json.dumps(dataclasses.asdict(self)) + "\n")
        new.replace(_file(layout))

    def __str__(self):
        prefix = f"memcached-{self.pool}" if self.pool else "s"
        parts = []
        if self.coming:
            parts.append("adds " + ", ".join(f"{prefix}{number}" for number in self.coming))
        if self.leaving:
            parts.append("removes " + ", ".join(f"{prefix}{number}" for number in self.leaving))
        return f"{self.command} ({' and '.join(parts)})"


def _file(layout):
    return layout.home / "rebalance.json"


# MARK: Commands

def grow(arguments):
    options = _options("grow", "Adds shards and gives them their share of the buckets; or cache nodes.",
                       arguments, count="how many to add", empty=True, cache=True)
    layout, supervisor = running()
    if options.cache:
        _carry_out(layout, supervisor, f"cluster/grow --cache {options.cache} {options.count}",
                   lambda: _grow_pool(layout, options.cache, options.count, options.warm), options.yes)
    elif options.empty:
        _carry_out(layout, supervisor, f"cluster/grow {options.count} --empty",
                   lambda: {**_grow(layout, options.count), "empty": True}, options.yes)
    else:
        grow_by(layout, supervisor, options.count, options.yes)


def grow_by(layout, supervisor, count, yes=True):
    """Also for `cluster/up` with more SHARDS than there are."""
    _carry_out(layout, supervisor, f"cluster/grow {count}", lambda: _grow(layout, count), yes)


def shrink(arguments):
    options = _options("shrink", "Empties the last shards and removes their servers; or cache nodes.",
                       arguments, count="how many to remove", cache=True)
    layout, supervisor = running()
    if options.cache:
        _carry_out(layout, supervisor, f"cluster/shrink --cache {options.cache} {options.count}",
                   lambda: _shrink_pool(layout, options.cache, options.count, options.warm), options.yes)
    else:
        _carry_out(layout, supervisor, f"cluster/shrink {options.count}",
                   lambda: _shrink(layout, options.count), options.yes)


def replace(arguments):
    options = _options("replace", "Moves everything of one shard to a new server and removes the old one.",
                       arguments, shard="the shard, such as s2")
    layout, supervisor = running()
    number = _number(options.shard)
    _carry_out(layout, supervisor, f"cluster/replace s{number}", lambda: _replace(layout, number),
               options.yes)


def _options(name, description, arguments, count=None, shard=None, empty=False, cache=False):
    parser = argparse.ArgumentParser(
        prog=f"cluster/{name}", description=description,
        epilog="Run again after an interruption, it goes on. Exit status: 0 done; 64 wrong usage; 65 refused"
               " before anything was changed; 69 a part does not answer; 75 not finished: run it again.")
    if count:
        parser.add_argument("count", nargs="?", type=int, default=1, help=f"{count} (1)")
    if shard:
        parser.add_argument("shard", help=shard)
    if empty:
        parser.add_argument("--empty", action="store_true",
                            help="give them no buckets, as for shardctl isolate")
    if cache:
        parser.add_argument("--cache", metavar="POOL", choices=CACHE_POOLS,
                            help=f"memcached nodes of this pool ({', '.join(CACHE_POOLS)}), not shards")
        parser.add_argument("--warm", type=int, metavar="SECONDS",
                            help="how long new cache nodes are filled from the old ones (60; sessions never)")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    try:
        options = parser.parse_args(arguments)
    except SystemExit as end:
        raise SystemExit(USAGE if end.code else 0) from None
    if count and options.count < 1:
        raise Failure("the number must be 1 or more", USAGE)
    if cache and options.warm is not None and not options.cache:
        raise Failure("--warm goes with --cache", USAGE)
    if cache and empty and options.cache and options.empty:
        raise Failure("--empty is about shards, --cache about cache nodes", USAGE)
    return options


def running():
    layout = Layout.load()
    supervisor = Supervisor(layout)
    if not supervisor.alive:
        raise Failure("the cluster is down; cluster/up starts it", UNAVAILABLE)
    return layout, supervisor


# MARK: Choosing

def _grow(layout, count):
    return {"coming": _new_numbers(layout, count), "leaving": []}


def _shrink(layout, count):
    numbers = layout.settings.shard_numbers
    if count >= len(numbers):
        raise Failure(f"there are {len(numbers)} shards, and one must stay", REFUSED)
    return {"coming": [], "leaving": sorted(numbers)[-count:]}


def _replace(layout, number):
    if number not in layout.settings.shard_numbers:
        names = ", ".join(f"s{number}" for number in layout.settings.shard_numbers)
        raise Failure(f"there is no shard s{number}; there are {names}", USAGE)
    return {"coming": _new_numbers(layout, 1), "leaving": [number]}


def _grow_pool(layout, pool, count, warm):
    return {"pool": pool, "warm": warm, "coming": pools.new_numbers(layout, pool, count), "leaving": []}


def _shrink_pool(layout, pool, count, warm):
    numbers = layout.settings.cache_numbers[pool]
    if count >= len(numbers):
        raise Failure(f"{pool} has {len(numbers)} nodes, and one must stay", REFUSED)
    return {"pool": pool, "warm": warm, "coming": [], "leaving": sorted(numbers)[-count:]}


def _number(name):
    text = name.removeprefix("shard").removeprefix("s")
    if not text.isdecimal():
        raise Failure(f"{name} is no shard's name, such as s2", USAGE)
    return int(text)


def _new_numbers(layout, count):
    """Numbers that were never used, while there are any."""
    used = set(layout.settings.shard_numbers)
    if len(used) + count > MOST["shards"]:
        raise Failure(f"a local cluster has at most {MOST['shards']} shards", REFUSED)
    fresh = list(range(max(used) + 1, LARGEST_SHARD_NUMBER + 1))
    gaps = [number for number in range(1, max(used)) if number not in used]
    return (fresh + gaps)[:count]


# MARK: Doing

def _carry_out(layout, supervisor, command, choose, yes):
    """`command` is what a person types for it, and types again when it was interrupted."""
    task = Task.pending(layout)
    if task:
        # Who they are was chosen the first time; asked for again, it goes on.
        if task.command != command:
            raise Failure(f"{task} was begun and is not finished; run {task.command} first", REFUSED)
        step(f"going on with {task}")
    else:
        task = Task(command, **choose())
        _preflight(layout, task)
        # What a cache holds may be lost at any time.
        confirm(f"{task}. This moves data; users go on meanwhile.", yes or bool(task.pool))
        task.keep(layout)
    try:
        if task.pool:
            pools.change(layout, supervisor, task)
        else:
            _do(layout, supervisor, task)
    except (Failure, KeyboardInterrupt) as problem:
        why = f"{problem}" or "interrupted"
        raise Failure(f"{task.command} is not finished: {why}; nothing is lost; when that is mended, run it"
                      " again and it goes on", UNFINISHED) from None
    _file(layout).unlink()
    if task.pool:
        step(f"done: {task.pool} has {len(layout.settings.cache_numbers[task.pool])} nodes")
    else:
        step(f"done: {len(layout.settings.shard_numbers)} shards"
             + ("" if task.empty else ", the buckets are where they belong"))


def _preflight(layout, task):
    """Everything that can be refused before anything is changed."""
    ready = nodes.answers(f"{layout.url}/readyz")
    if ready != 200:
        raise Failure(f"the cluster does not serve ({layout.url}/readyz answers {ready});"
                      " see cluster/status", UNAVAILABLE)
    if task.pool:
        return pools.preflight(layout, task)
    budget.check(layout)
    run = control.attempt(layout, "doctor")
    if run.returncode == FAILED:
        raise Failure(f"shardctl doctor finds something to mend first: {run.stdout.splitlines()[0]}",
                      REFUSED)
    if run.returncode:
        raise Failure(f"shardctl doctor: {control.last_line(run)}", run.returncode)
    _check_control(layout)
    ports.require_free(layout.shard(number) for number in task.coming)
    return _check_disk(layout, task)


def _check_control(layout):
    # A cluster that was started just now may not have a leader yet.
    deadline = time.monotonic() + ELECTION_SECONDS
    while not (state := _status(layout))["leader"] and time.monotonic() < deadline:
        time.sleep(0.5)
    if not state["leader"]:
        raise Failure("no coordinator leads; see cluster/status and cluster/logs coordinator1", UNAVAILABLE)
    if state["paused"]:
        raise Failure("moves are paused; shardctl resume takes that back", REFUSED)
    if state["pending"]:
        raise Failure(f"another plan is being carried out, {state['pending']} moves to go; wait for it"
                      " (shardctl status --watch)", REFUSED)


def _check_disk(layout, task):
    """While buckets move their rows are there twice."""
    sizes = {node.index: int(shards.psql(
        layout, node, "SELECT pg_database_size(current_database())")) for node in layout.shards}
    staying = len(sizes) + len(task.coming) - len(task.leaving)
    moved = sum(sizes[number] for number in task.leaving)
    if not task.leaving:
        moved = sum(sizes.values()) * len(task.coming) // staying
    needed = 2 * moved + NEW_SHARD_BYTES * len(task.coming) + FREE_BYTES
    free = shutil.disk_usage(layout.home).free
    if free < needed:
        raise Failure(f"only {free >> 20} MB are free on the disk of {layout.home}, {needed >> 20} MB are"
                      " needed while the buckets move; free some", REFUSED)


def _do(layout, supervisor, task):
    for number in task.coming:
        _start_server(layout, supervisor, number)
    known = _map(layout)
    for number in task.coming:
        address = f"127.0.0.1:{layout.shard(number).port}"
        control.run(layout, "shard", "add", f"s{number}", "--address", address,
                    "--migrations", str(CHECKOUT / "Sources"))
    leaving = [number for number in task.leaving if f"s{number}" in known]
    for number in leaving:
        control.run(layout, "shard", "drain", f"s{number}")
    if not task.empty:
        _move(layout, leaving)
    for number in leaving:
        control.run(layout, "shard", "remove", f"s{number}", "--yes")
    for number in task.leaving:
        _remove_server(layout, supervisor, number)
    _await_clean(layout)


def _start_server(layout, supervisor, number):
    """A PostgreSQL server of its own initdb, bare: shardctl makes a shard of it."""
    if number not in layout.settings.shard_numbers:
        layout.settings.shard_numbers = (*layout.settings.shard_numbers, number)
        layout.settings.keep(layout.home)
    node = layout.shard(number)
    made = shards.create(layout)
    if made:
        step(f"databases created: {', '.join(made)}")
    supervisor.write()
    supervisor.adopt()
    if supervisor.start_process(node.name):
        step(f"started: {node.name}")
    wait_for(lambda: shards.ready(layout, node), layout.settings.start_seconds, node.name,
             layout.log(node.name))


def _move(layout, leaving):
    """Plans are carried out until nothing is left to move: users go on writing, so that one may not do."""
    _await_plan(layout)
    for _ in range(MOST_PLANS):
        if control.ask(layout, "plan")["buckets"] == 0:
            break
        # Moves that were taken back are planned again.
        control.run(layout, "apply", "--wait", "--yes", accept=(0, 1))
    else:
        if control.ask(layout, "plan")["buckets"]:
            raise Failure(f"{MOST_PLANS} plans did not bring every bucket to its place; see shardctl status")
    known = _map(layout)
    for name in [f"s{number}" for number in leaving]:
        if known[name]["buckets"]:
            raise Failure(f"{name} still has {known[name]['buckets']} buckets; see shardctl status")


def _await_plan(layout):
    """The plan of an earlier attempt is carried out whether this command lives or not."""
    last = None
    while pending := _status(layout)["pending"]:
        if pending != last:
            step(f"an agreed plan is being carried out: {pending} moves to go")
        last = pending
        time.sleep(1)


def _await_clean(layout):
    """The last move may still be tidying up."""
    deadline = time.monotonic() + CONTROL_SECONDS
    while (run := control.attempt(layout, "doctor")).returncode:
        if time.monotonic() > deadline:
            lines = (run.stdout + run.stderr).strip().splitlines()
            raise Failure(f"shardctl doctor: {lines[0] if lines else run.returncode}")
        time.sleep(1)
    step("shardctl doctor: nothing found")


def _map(layout):
    """The shards that the map knows, by name."""
    return {shard["shard"]: shard for shard in control.ask(layout, "shard", "list")["shards"]}


def _status(layout):
    """What the coordinator does; a shard that is not well does not matter here."""
    return control.ask(layout, "status", accept=(0, 1))


def _remove_server(layout, supervisor, number):
    """The server of a shard that the map has let go, and its data, which nobody owns any more."""
    node = layout.shard(number)
    # A node that never lets go is not worth an end: its next query to this server fails and it re-routes.
    with contextlib.suppress(Failure):
        wait_for(lambda: not _clients(layout, node), RELEASE_SECONDS, f"the nodes' leave from {node.name}",
                 layout.log(node.name))
    numbers = tuple(one for one in layout.settings.shard_numbers if one != number)
    layout.settings.shard_numbers = numbers
    if node.name in supervisor.processes():
        supervisor.remove(node.name)
    layout.settings.keep(layout.home)
    supervisor.write()
    shards.delete(layout, node)
    step(f"{node.name}: server stopped, its data deleted")


def _clients(layout, node):
    """App nodes and workers that are connected; none when the server is not there."""
    if not shards.ready(layout, node):
        return 0
    return int(shards.psql(
        layout, node, "SELECT count(*) FROM pg_stat_activity WHERE usename IN ('app', 'worker')"))
