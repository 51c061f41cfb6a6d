"""Attacks on warm pages: whatever ends somebody's right to see a post ends it on every page that lies rendered, on every
node, whether or not the caches hear of it."""
import time

import pytest

from people import eventually
from test_pages import DEAF_SECONDS, HOME, friends, warm


def ends_by_deletion(cluster, author, reader, post):
    author.call("DELETE", f"/api/v1/statuses/{post['id']}")


def ends_by_block(cluster, author, reader, post):
    author.post(f"/api/v1/accounts/{reader.id}/block")


def ends_by_being_blocked(cluster, author, reader, post):
    reader.post(f"/api/v1/accounts/{author.id}/block")


def ends_by_unfollowing(cluster, author, reader, post):
    reader.unfollow(author)


def ends_by_suspension(cluster, author, reader, post):
    """As a moderator's tool does: one fenced write."""
    cluster.sql(cluster.shard_of(author), f"""
        SELECT control.fence(ARRAY[{author.bucket}]::smallint[], ARRAY(
            SELECT epoch FROM control.bucket_owner WHERE bucket = {author.bucket}));
        UPDATE accounts.account SET state = 2 WHERE id = {author.id}""")


def ends_by_departure(cluster, author, reader, post):
    author.call("DELETE", "/api/tessera/v1/account", json={"current_password": author.password})


ATTACKS = [ends_by_deletion, ends_by_block, ends_by_being_blocked, ends_by_unfollowing,
           ends_by_suspension, ends_by_departure]


class Victims:
    """For each attack an author and a reader, on whose warm home page a post of the author is."""

    def __init__(self, cluster, site):
        self.nodes = [f"http://127.0.0.1:{cluster.process(name)['port']}" for name in cluster.names("app")]
        self.all = []
        for attack in ATTACKS:
            author, reader = site.people(2)
            post, = friends(reader, [author])
            self.all.append((attack, author, reader, post))
        for _, _, reader, _ in self.all:
            warm(reader)

    def attack(self, cluster):
        for attack, author, reader, post in self.all:
            attack(cluster, author, reader, post)

    def shown(self):
        """Which attacks failed, seen through every node."""
        found = []
        for attack, _, reader, post in self.all:
            for url in self.nodes:
                page = reader.site.at(url).call("GET", HOME, token=reader.token).json()
                if post["id"] in [status["id"] for status in page]:
                    found.append((attack.__name__, url))
        return found

    def are_gone_for_good(self, seconds):
        eventually(lambda: not self.shown(), "nothing that was withdrawn is shown", 10)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            shown = self.shown()
            assert not shown, f"shown again: {shown}"


def test_what_ends_leaves_warm_pages_of_every_node(cluster, site):
    victims = Victims(cluster, site)

    victims.attack(cluster)

    victims.are_gone_for_good(2)


def test_what_ended_while_the_caches_slept_does_not_come_back(cluster, site):
    victims = Victims(cluster, site)
    names = cluster.names("memcached")
    for name in names:
        cluster.pause(name)
    try:
        victims.attack(cluster)
        time.sleep(DEAF_SECONDS)
    finally:
        for name in names:
            cluster.resume(name)

    victims.are_gone_for_good(3)


@pytest.fixture
def lost(cluster):
    """A shard that does not run."""
    name = cluster.names("shard")[-1]
    yield name
    cluster.start(name)
    cluster.wait_until_ready()


def test_a_silent_shard_takes_the_kept_pages_of_its_own_people_only(cluster, site, lost):
    here, there = [], []
    while len(here) < 3 or not there:
        person = site.person()
        (there if cluster.shard_of(person) == lost else here).append(person)
    author, reader, other = here[:3]
    post, = friends(reader, [author])
    friends(other, there[:1])
    for person in (reader, other):
        warm(person)
    cluster.stop(lost)

    def is_kept(person):
        # Whoever asks for people of the lost shard may be told to come back later.
        answer = person.call("GET", HOME, headers={"Tessera-Debug": "1"}, expect=(200, 503))
        return "shards=0/" in answer.headers.get("Tessera-Cost", "")

    deadline = time.monotonic() + DEAF_SECONDS
    while time.monotonic() < deadline:
        is_kept(reader)
    eventually(lambda: all(is_kept(reader) for _ in range(6)), "the pages of people on other shards")
    assert not any(is_kept(other) for _ in range(6))

    author.call("DELETE", f"/api/v1/statuses/{post['id']}")
    eventually(lambda: post["id"] not in reader.home_ids(), "the deletion")
    for _ in range(10):
        assert post["id"] not in reader.home_ids()
