"""What every suite of a cluster has: the cluster that `cluster/test` named in TESSERA_HOME, and people on it."""
import pytest

from people import Site
from processes import Cluster


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
