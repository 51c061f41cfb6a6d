"""Clients that other people wrote: toot and Mastodon.py, from the Python package index."""
import os
import pathlib
import re
import subprocess
import sys
import threading

import mastodon
import pytest

from people import OUT_OF_BAND, PHOTO, Browser, eventually

TOOT = pathlib.Path(sys.executable).with_name("toot")


class Toot:
    """The command `toot` of one person, with a configuration of its own."""

    def __init__(self, site, person, folder):
        self.site = site
        self.environment = {**os.environ, "XDG_CONFIG_HOME": str(folder), "NO_COLOR": "1",
                            "HOME": str(folder), "TERM": "dumb", "COLUMNS": "200"}
        self.log_in(person)

    def log_in(self, person):
        """As a person does it: open the printed address, log in, copy the code back."""
        process = subprocess.Popen(
            [TOOT, "login", "-i", self.site.url], env=self.environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        try:
            output = ""
            while not (match := re.search(r"(http\S+/oauth/authorize\S*)\n", output)):
                line = process.stdout.readline()
                assert line, f"toot gave no address: {output}"
                output += line
            code = Browser(self.site).authorize(match.group(1), person)
            rest, _ = process.communicate(f"n\n{code}\n")
            assert process.returncode == 0, output + rest
        finally:
            watchdog.cancel()

    def run(self, *arguments):
        run = subprocess.run(
            [TOOT, *arguments], env=self.environment, capture_output=True, text=True, timeout=60,
            check=False)
        assert run.returncode == 0, f"toot {arguments}: {run.stdout}{run.stderr}"
        return run.stdout


def test_toot_posts_a_photo_follows_and_reads(site, ana, ben, tmp_path):
    toot_ana = Toot(site, ana, tmp_path / "ana")
    toot_ben = Toot(site, ben, tmp_path / "ben")

    assert ben.name in toot_ben.run("whoami")
    toot_ben.run("follow", f"@{ana.name}")
    toot_ana.run("post", "From the terminal", "--media", str(PHOTO), "--description", "tiles")

    eventually(lambda: "From the terminal" in toot_ben.run("timeline", "--once"),
               "the post in toot's timeline")


@pytest.fixture
def clients(site, ana, ben):
    client_id, secret = mastodon.Mastodon.create_app(
        "tests", api_base_url=site.url, redirect_uris=OUT_OF_BAND, scopes=["read", "write"])

    def log_in(person):
        client = mastodon.Mastodon(
            client_id=client_id, client_secret=secret, api_base_url=site.url)
        url = client.auth_request_url(redirect_uris=OUT_OF_BAND, scopes=["read", "write"])
        client.log_in(code=Browser(site).authorize(url, person), redirect_uri=OUT_OF_BAND,
                      scopes=["read", "write"])
        return client

    return log_in(ana), log_in(ben)


def test_mastodon_py_posts_a_photo_follows_and_reads(ana, ben, clients):
    of_ana, of_ben = clients

    of_ben.account_follow(ana.id)
    media = of_ana.media_post(str(PHOTO), mime_type="image/jpeg", description="tiles",
                              synchronous=True)
    status = of_ana.status_post("From Python", media_ids=[media])

    timeline = eventually(
        lambda: [s for s in of_ben.timeline_home() if s.id == status.id], "the post in the feed")
    assert timeline[0].media_attachments[0].description == "tiles"
    of_ben.status_favourite(status)
    assert of_ana.status(status).favourites_count == 1
    of_ana.status_delete(status)
    assert status.id not in [s.id for s in of_ben.timeline_home()]


def test_mastodon_py_follows_pages(ana, clients):
    of_ana, _ = clients
    made = [of_ana.status_post(f"page {number}").id for number in range(5)]

    first = of_ana.account_statuses(ana.id, limit=2)
    everything = of_ana.fetch_remaining(first)

    assert [str(status.id) for status in everything] == [str(i) for i in reversed(made)]


def test_mastodon_py_asks_lets_in_blocks_and_mutes(ana, ben, clients):
    of_ana, of_ben = clients
    of_ana.account_update_credentials(locked=True)

    asked = of_ben.account_follow(ana.id, reblogs=False, notify=True)
    requests = eventually(of_ana.follow_requests, "the request")
    of_ana.follow_request_authorize(requests[0])

    assert asked.requested and not asked.following
    known = eventually(
        lambda: [one for one in of_ben.account_relationships(ana.id) if one.following], "the follow")
    assert known[0].notifying and not known[0].showing_reblogs
    assert str(of_ana.account_followers(ana.id)[0].id) == ben.id
    assert of_ben.account_mute(ana.id, duration=600).muting_expires_at is not None
    assert str(of_ben.mutes()[0].id) == ana.id
    assert not of_ben.account_unmute(ana.id).muting
    assert of_ben.account_note_set(ana.id, "tiles").note == "tiles"
    assert of_ana.account_block(ben.id).blocking
    assert str(of_ana.blocks()[0].id) == ben.id
    eventually(lambda: of_ben.account_relationships(ana.id)[0].blocked_by, "the block")
    assert not of_ana.account_unblock(ben.id).blocking
    assert of_ben.account_familiar_followers(ana.id)[0].accounts == []


def test_toot_mutes_blocks_and_lists_both(site, ana, ben, tmp_path):
    toot = Toot(site, ana, tmp_path)

    for verb, lists in (("mute", "muted"), ("block", "blocked")):
        toot.run(verb, f"@{ben.name}")
        assert ben.name in toot.run(lists)
        toot.run(f"un{verb}", f"@{ben.name}")
        assert ben.name not in toot.run(lists)
