"""A small cluster which these suites may kill parts of; `cluster/test` starts it."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "Clients"))

from people import Site  # noqa: E402
from processes import Cluster  # noqa: E402


@pytest.fixture(scope="session")
def cluster():
    return Cluster()


@pytest.fixture(scope="session")
def site(cluster):
    return Site(cluster.url, cluster.authority)


@pytest.fixture
def ana(site):
    return site.person()


@pytest.fixture
def ben(site):
    return site.person()


@pytest.fixture(autouse=True)
def whole_cluster(cluster):
    """Every test begins and ends with a cluster that serves."""
    cluster.wait_until_ready()
    yield
    cluster.wait_until_ready()
