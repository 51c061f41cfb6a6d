"""A social network from a seed, of any size: who there is, who follows whom, who posted what.

Names of people are popular by a power law; posts are drawn evenly over authors, as DeathStarBench does. The
same world goes into a cluster, through its real schema, and into the tables of the peers.

What is left out because no benchmark reads it: claims of names, credentials (nobody logs in with a password),
files of photos.
"""
import bisect
import itertools
import random
import time

BUCKETS = 1024
# Home timelines end here; entries below are trimmed.
HOME_BOUND = 800
WORDS = ("light morning river stone quiet harbour walk paper winter glass station garden bread window"
         " evening north cloud bicycle mountain letter salt bridge summer roof field lamp").split()
HISTORY_DAYS = 100
# How far before now the newest post is: ids made from now on are above all of these.
AGE_SECONDS = 600
SESSION_SECONDS = 7 * 86400


def bucket_of(identifier):
    return identifier >> 6 & 1023


class World:
    """`readers` says how many people who read follow how many others: {follows: people}.

    Those who do not read follow `others_follow` each.
    """

    def __init__(self, seed=1, people=2_000, posts=20_000, readers=None, others_follow=0,
                 exponent=0.8, ending=None):
        self.random = random.Random(seed)
        self.now = int((ending or time.time()) * 1000)
        began = self.now - HISTORY_DAYS * 86_400_000
        self.people = [
            _id(began - people + number, self.random.randrange(BUCKETS)) for number in range(people)]
        self.number = {person: number for number, person in enumerate(self.people)}
        weights = [(rank + 1) ** -exponent for rank in range(people)]
        # Popularity has nothing to do with age.
        self.random.shuffle(weights)
        self._cumulative = list(itertools.accumulate(weights))
        # Readers are drawn from everybody, so that they are neither popular nor unpopular.
        readers = readers or {}
        drawn = iter(self.random.sample(self.people, sum(readers.values())))
        self.groups = {
            follows: list(itertools.islice(drawn, count)) for follows, count in readers.items()}
        self.readers = [person for group in self.groups.values() for person in group]
        self.following = {
            person: self._friends(person, min(follows, people // 2))
            for follows, group in self.groups.items() for person in group}
        if others_follow:
            for person in self.people:
                if person not in self.following:
                    self.following[person] = self._friends(person, min(others_follow, people - 1))
        self.followers = {}
        for person, friends in self.following.items():
            for friend in friends:
                self.followers.setdefault(friend, []).append(person)
        self._write(posts, began)

    def follow_everybody(self, author, followers):
        """Makes `author` known to each of `followers`, as far as they do not follow yet."""
        known = set(self.followers.get(author, ()))
        for person in followers:
            if person != author and person not in known:
                self.following.setdefault(person, []).append(author)
                self.followers.setdefault(author, []).append(person)

    def _friends(self, person, count):
        """Others by their popularity, each once."""
        found = set()
        while len(found) < count:
            place = bisect.bisect_left(
                self._cumulative, self.random.random() * self._cumulative[-1])
            if self.people[place] != person:
                found.add(self.people[place])
        return sorted(found)

    def _write(self, posts, began):
        """Posts in the order of time, each by somebody."""
        span = self.now - AGE_SECONDS * 1000 - began
        self.posts, self.by = [], {person: [] for person in self.people}
        for number in range(posts):
            author = self.random.choice(self.people)
            post = _id(began + span * number // posts, bucket_of(author))
            self.posts.append((post, author))
            self.by[author].append(post)

    def text(self, post):
        """What a post says, 8 to 24 words: the same each time it is asked."""
        mixed = post * 0x9E3779B97F4A7C15 & (1 << 64) - 1
        return " ".join([WORDS[(mixed >> 2 * place) % len(WORDS)] for place in range(8 + mixed % 17)])

    def username(self, person):
        return f"person{self.number[person]}"

    def delivered(self, reader):
        """The newest posts of those whom a reader follows, newest first."""
        return self._newest(self.following.get(reader, []))

    def home(self, reader):
        """What a reader's home timeline shows: those and the reader's own."""
        return self._newest([*self.following.get(reader, []), reader])

    def _newest(self, authors):
        found = [post for author in authors for post in self.by[author][-HOME_BOUND:]]
        found.sort(reverse=True)
        return found[:HOME_BOUND]


def _id(milliseconds, bucket):
    return milliseconds << 16 | bucket << 6


def stamp(identifier):
    """When an id was made, as PostgreSQL reads it."""
    seconds, milliseconds = divmod(identifier >> 16, 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{milliseconds:03d}Z"


# MARK: Into a cluster

def settle_in(cluster, world, sessions=None):
    """Writes a world through the real schema, guards and all; gives a token for each reader."""
    counts = {person: len(posts) for person, posts in world.by.items()}
    cluster.copy(
        "accounts.account", ("bucket", "id", "username", "username_folded", "created_at", "display_name"),
        ((bucket_of(p), p, world.username(p), world.username(p), stamp(p),
          f"Person number {world.number[p]}") for p in world.people))
    cluster.copy(
        "posts.post",
        ("bucket", "id", "author", "text", "visibility", "language", "created_at"),
        ((bucket_of(post), post, author, world.text(post), 0, "en", stamp(post))
         for post, author in world.posts))
    edges = [(person, friend, _id((person >> 16) + place, bucket_of(person)))
             for person, friends in world.following.items()
             for place, friend in enumerate(friends)]
    cluster.copy(
        "graph.following", ("bucket", "user_id", "target_id", "id", "version", "active"),
        ((bucket_of(person), person, friend, edge, 1, True) for person, friend, edge in edges))
    cluster.copy(
        "graph.follower",
        ("bucket", "followed", "follower_bucket", "follower", "id", "version", "active"),
        ((bucket_of(friend), friend, bucket_of(person), person, edge, 1, True)
         for person, friend, edge in edges))
    totals = [(person, 12, count) for person, count in counts.items()]
    totals += [(person, 11, len(friends)) for person, friends in world.following.items()]
    totals += [(person, 10, len(known)) for person, known in world.followers.items()]
    cluster.copy("counters.total", ("bucket", "subject", "kind", "amount"),
                 ((bucket_of(person), person, kind, count) for person, kind, count in totals if count),
                 # A worker that recounts may have been here first.
                 "ON CONFLICT (bucket, subject, kind) DO UPDATE SET amount = excluded.amount")
    return enrol(cluster, world, sessions or world.readers)


def enrol(cluster, world, readers):
    """Keeps the feeds of these people, as the product would, and logs them in."""
    homes = {reader: world.delivered(reader) for reader in readers}
    cluster.copy(
        "feed.reader", ("bucket", "reader", "active", "rebuilt", "floor"),
        ((bucket_of(reader), reader, True, True, home[-1] - 1 if len(home) == HOME_BOUND else 0)
         for reader, home in homes.items()))
    authors = dict(world.posts)
    cluster.copy(
        "feed.entry", ("bucket", "reader", "post_id", "author"),
        ((bucket_of(reader), reader, post, authors[post])
         for reader, home in homes.items() for post in home))
    expires = world.now // 1000 + SESSION_SECONDS
    sessions = {reader: _id(world.now + place, bucket_of(reader))
                for place, reader in enumerate(readers)}
    cluster.copy(
        "accounts.session",
        ("bucket", "id", "user_id", "client_id", "client_name", "scopes", "expires_at"),
        ((bucket_of(reader), session, reader, "bench", "bench", "read write follow",
          stamp(expires * 1000 << 16)) for reader, session in sessions.items()))
    return {reader: cluster.token(reader, session, expires)
            for reader, session in sessions.items()}
