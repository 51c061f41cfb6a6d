"""What the balancer is told of the paths that services declare."""
import re
import sys

import house
import pytest

sys.path.insert(0, str(house.ROOT / "cluster" / "lib"))

from local import routes  # noqa: E402
from local.console import Failure  # noqa: E402

DECLARED = {
    "core": ["/api/v1/statuses/:id", "/api/v1/accounts/:id", "/api/v1/accounts/search", "/files/list",
             "/shared/:id/core", "/livez"],
    "media": ["/files/:name", "/api/v2/media", "/media/:name/:file", "/media/*rest"],
    "search": ["/api/v2/search", "/shared/:id/find", "/media/index/:letter"],
}


def services(declared):
    return [{"service": name, "paths": paths} for name, paths in declared.items()]


def pool(path, declared=None, pools=("core", "media", "search")):
    """Where the balancer sends a path, by its maps in their order."""
    exact, patterns, prefixes = routes.maps(services(declared or DECLARED), pools)
    pairs = dict(line.split() for line in routes.lines(exact, slash=True).splitlines())
    if path in pairs:
        return pairs[path]
    for line in routes.lines(patterns).splitlines():
        expression, name = line.rsplit(" ", 1)
        if re.search(expression, path):
            return name
    found = [before for before in prefixes if path.startswith(before)]
    return prefixes[max(found, key=len)] if found else "core"


@pytest.mark.parametrize("path, expected", [
    ("/api/v1/statuses/7", "core"), ("/api/v2/search", "search"), ("/api/v2/search/", "search"),
    ("/api/v2/searching", "core"), ("/files/a", "media"), ("/files/list", "core"), ("/shared/7/core", "core"),
    ("/shared/7/find", "search"), ("/media/a/b", "media"), ("/media/a/b/c", "media"), ("/media/index/a", "search"),
    ("/nothing", "core"), ("/livez", "core"),
])
def test_each_path_goes_to_the_pool_of_its_service(path, expected):
    assert pool(path) == expected


def test_a_service_without_a_pool_is_on_the_nodes_of_core():
    for path in ("/api/v2/search", "/shared/7/find", "/media/index/a"):
        assert pool(path, pools=("core", "media")) == "core"
    assert routes.maps(services(DECLARED), ("core",)) == ({}, {}, {})


def test_a_path_of_two_services_is_refused():
    with pytest.raises(Failure, match="/api/v2/search"):
        pool("/", {**DECLARED, "media": ["/api/v2/search"]})
