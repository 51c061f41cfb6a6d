"""What people do, as requests of the public API, and how often: the mixes of three public benchmarks.

LinkBench and TAOBench speak of nodes or objects and of links or edges. Here a node is a post, a link is a like or a
follow; which operation is which route stands in the scenarios `links` and `tao`.
"""
import bisect
import itertools

from .load import request
from .mixing import Mix, fresh_key

PAGE = 20
ZIPF = 0.8


class Actions:
    """Makes requests of the people of a world who are logged in."""

    def __init__(self, world, tokens):
        self.world, self.tokens = world, tokens
        self.readers = list(tokens)
        self.own = [(person, post) for person in self.readers for post in world.by[person]]
        self._ranks = list(itertools.accumulate(
            (rank + 1) ** -ZIPF for rank in range(len(world.posts))))
        # A post that is deleted once is not deleted, edited or read on purpose again.
        half = len(self.own) // 2
        self._to_delete, self._to_edit = self.own[:half], self.own[half:]

    def anybody(self, random):
        return self.tokens[random.choice(self.readers)]

    def post(self, random):
        """A post by its popularity, which has nothing to do with its age; none that may be deleted."""
        while True:
            place = bisect.bisect_left(self._ranks, random.random() * self._ranks[-1])
            post, author = self.world.posts[place * 7919 % len(self.world.posts)]
            if author not in self.tokens:
                return post

    def home(self, random):
        return request("GET", f"/api/v1/timelines/home?limit={PAGE}", self.anybody(random))

    def profile_posts(self, random):
        person = random.choice(self.world.people)
        return request("GET", f"/api/v1/accounts/{person}/statuses?limit={PAGE}", self.anybody(random))

    def compose(self, random):
        words = " ".join(self.world.text(random.getrandbits(60)).split()[:20])
        return request("POST", "/api/v1/statuses", self.anybody(random), {"status": words}, fresh_key())

    def status(self, random):
        return request("GET", f"/api/v1/statuses/{self.post(random)}", self.anybody(random))

    def profile(self, random):
        return request(
            "GET", f"/api/v1/accounts/{random.choice(self.world.people)}", self.anybody(random))

    def following(self, random):
        person = random.choice(self.readers)
        return request("GET", f"/api/v1/accounts/{person}/following?limit=40", self.anybody(random))

    def list(self, random):
        if random.random() < 0.5:
            return self.following(random)
        return request("GET", f"/api/v1/statuses/{self.post(random)}/favourited_by",
                       self.anybody(random))

    def relationship(self, random):
        person = random.choice(self.world.people)
        return request("GET", f"/api/v1/accounts/relationships?id[]={person}", self.anybody(random))

    def like(self, random):
        return request("POST", f"/api/v1/statuses/{self.post(random)}/favourite",
                       self.anybody(random), key=fresh_key())

    def like_again(self, random):
        """Few people and few posts, so that nearly all of these likes are there already."""
        person = self.readers[random.randrange(min(20, len(self.readers)))]
        post = self.world.posts[random.randrange(20)][0]
        return request("POST", f"/api/v1/statuses/{post}/favourite", self.tokens[person],
                       key=fresh_key())

    def unlike(self, random):
        return request("POST", f"/api/v1/statuses/{self.post(random)}/unfavourite",
                       self.anybody(random), key=fresh_key())

    def edit(self, random):
        person, post = random.choice(self._to_edit)
        return request("PUT", f"/api/v1/statuses/{post}", self.tokens[person],
                       {"status": self.world.text(random.getrandbits(60))}, fresh_key())

    def delete(self, random):
        """Each post once; when they are used up, something is posted instead."""
        if not self._to_delete:
            return self.compose(random)
        person, post = self._to_delete.pop()
        return request("DELETE", f"/api/v1/statuses/{post}", self.tokens[person], key=fresh_key())


def social(actions):
    """DeathStarBench's mixed workload."""
    return Mix(home=(60, actions.home), profile=(30, actions.profile_posts),
               compose=(10, actions.compose))


def links(actions):
    """LinkBench's mix: scenarios/links.py says what is what."""
    return Mix(get_link_list=(50.7, actions.list), get_node=(12.9, actions.status),
               add_link=(9.0, actions.like), update_link=(8.0, actions.like_again),
               update_node=(7.4, actions.edit), count_link=(4.9, actions.profile),
               delete_link=(3.0, actions.unlike), add_node=(2.6, actions.compose),
               delete_node=(1.0, actions.delete), get_link=(0.5, actions.relationship))


def tao(actions):
    """TAOBench's workload A: scenarios/tao.py says what is what."""
    read, write = 171 / (475 + 68 + 376 + 39), 57 / (111 + 214 + 10 + 380)
    return Mix(object_read=(read * 475, actions.status), point_read=(read * 68, actions.relationship),
               range_read=(read * 376, actions.following), count_read=(read * 39, actions.profile),
               object_add=(write * 111, actions.compose), object_update=(write * 214, actions.edit),
               edge_add=(write * 10, actions.like), edge_update=(write * 380, actions.like_again),
               read_transaction=(15, actions.home), write_transaction=(1, actions.compose))
