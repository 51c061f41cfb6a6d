"""A stranger who takes the administrator's name before `cluster/up` does is never made administrator."""
import json
import shutil
import sys

import pytest

from people import ROOT_FOLDER

sys.path.insert(0, str(ROOT_FOLDER / "cluster" / "lib"))

from local import accounts  # noqa: E402
from local.console import Failure  # noqa: E402
from local.layout import Layout, Settings  # noqa: E402


@pytest.fixture
def fresh(cluster, tmp_path, monkeypatch):
    """The running cluster as it was before its first administrator, who shall be called otherwise."""
    settings = Settings.read(cluster.home)[1]
    layout = Layout(settings, tmp_path)
    shutil.copytree(cluster.home / "secrets", layout.secrets)
    (layout.secrets / "admin-application").unlink()
    monkeypatch.setattr(accounts, "ADMINISTRATOR", f"chief{tmp_path.stat().st_ino}")
    return layout


def role(cluster, person_id):
    for shard in cluster.names("shard"):
        if rows := cluster.sql(shard, f"SELECT role FROM accounts.account WHERE id = {person_id}"):
            return int(rows[0][0])
    raise AssertionError(f"no shard has {person_id}")


def test_a_stranger_of_that_name_gets_no_power(cluster, site, fresh):
    stranger = site.person(accounts.ADMINISTRATOR)

    for _ in range(2):
        with pytest.raises(Failure, match="the administrator cannot be made"):
            accounts.create_administrator(fresh)

    assert role(cluster, stranger.id) == 0
    assert not (fresh.home / "administrator").exists()


def test_an_interrupted_attempt_is_taken_up_again(cluster, fresh):
    accounts.create_administrator(fresh)
    name, identifier = (fresh.home / "administrator").read_text().split()
    (fresh.home / "administrator").unlink()

    accounts.create_administrator(fresh)

    assert (fresh.home / "administrator").read_text().split() == [name, identifier]
    assert role(cluster, identifier) == accounts.ADMINISTRATOR_ROLE
    assert json.loads((fresh.secrets / "admin-application").read_text())["client_id"]
