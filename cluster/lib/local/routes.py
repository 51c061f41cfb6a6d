"""What the balancer sends where: made from the paths that the services themselves declare."""
import json
import re
import subprocess

from .console import Failure
from .layout import POOLS


def declared(layout):
    """`appnode --routes`: each service with its paths."""
    node = layout.app_nodes[0]
    run = subprocess.run(
        [str(layout.binaries / "appnode"), "--routes", "--config",
         str(layout.config / f"{node.name}.yaml")], capture_output=True, text=True, check=False)
    if run.returncode:
        raise Failure(f"appnode --routes: {run.stderr.strip()[-200:]}")
    services = json.loads(run.stdout)
    unknown = {one["service"] for one in services} - set(POOLS)
    if unknown:
        raise Failure(f"appnode has a service {min(unknown)} that cluster/lib/local/layout.py does not know")
    return services


def maps(services, pools):
    """Path -> pool, pattern -> pool and prefix -> pool, asked in this order; what is in none is core's.

    A path with parameters goes by what stands before the first of them, or, where another pool has paths there as well,
    by a pattern of its own.
    """
    paths = [(path, one["service"] if one["service"] in pools else "core")
             for one in services for path in one["paths"]]
    exact, patterns, prefixes = {}, {}, {}
    for path, pool in paths:
        before = prefix(path)
        strangers = [one for one, other in paths if other != pool]
        covered = any(before.startswith(prefix(one)) for one in strangers if prefix(one) != one)
        if before == path:
            if pool != "core" or covered:
                _put(exact, path, pool)
        elif covered or any(one.startswith(before) for one in strangers):
            _put(patterns, pattern(path), pool)
        elif pool != "core":
            _put(prefixes, before, pool)
    return exact, patterns, prefixes


def prefix(path):
    """What stands before the first parameter: `/media/` of `/media/:name/:file`."""
    return re.split(r"(?<=/)[:*]", path, maxsplit=1)[0]


def pattern(path):
    """A regular expression of the paths that a declared one stands for."""
    parts = [".*" if part.startswith("*") else "[^/]+" if part.startswith(":") else re.escape(part)
             for part in path.split("/")]
    return "^" + "/".join(parts) + "/?$"


def _put(entries, key, pool):
    if entries.setdefault(key, pool) != pool:
        raise Failure(f"{key} is declared by {entries[key]} and by {pool}; one of them must let go of it")


def lines(entries, slash=False):
    """A map file; with `slash` also for the same path with a slash at its end, which nodes take for the same.

    Patterns are tried in order: those that say most come first.
    """
    ordered = sorted(entries.items(), key=lambda entry: (".*" in entry[0], entry[0].count("[^/]+"), entry[0]))
    return "".join(f"{key} {pool}\n" + (f"{key}/ {pool}\n" if slash else "") for key, pool in ordered)
