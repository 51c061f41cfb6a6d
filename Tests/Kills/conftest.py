"""A small cluster which these suites may kill parts of; `cluster/test` starts it."""
import pytest

pytest_plugins = ["cluster_fixtures"]


@pytest.fixture(autouse=True)
def whole_cluster(cluster):
    """Every test begins and ends with a cluster that serves."""
    cluster.wait_until_ready()
    yield
    cluster.wait_until_ready()
