"""Clients under failures: requests that go on, are repeated with their key, and are judged at the end."""
import concurrent.futures
import random
import secrets
import threading
import time

import requests

from people import eventually


class Traffic:
    """Requests from a few threads, one after the other, each counted as it was answered."""

    def __init__(self, act, threads=4, pause=0):
        self.act = act
        self.pause = pause
        self.results = []
        self.failures = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def _run(self):
        while not self._stop.is_set():
            try:
                self.results.append(self.act())
            except Exception as failure:  # what failed is judged by the test
                self.failures.append(failure)
            self._stop.wait(self.pause)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()


def stubborn(act, seconds=90):
    """Repeats a request with its key until it is acknowledged, as a client should."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return act()
        except (AssertionError, requests.RequestException):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def publish_stubbornly(person, text):
    key = secrets.token_hex(8)
    return stubborn(lambda: person.publish(text, key=key))


def has_exactly(reader, ids):
    """All of the ids, once each, newest first."""
    expected = sorted(ids, key=int, reverse=True)
    eventually(lambda: set(ids) <= set(reader.whole_home()), "all acknowledged posts", 60)
    assert [i for i in reader.whole_home() if i in set(ids)] == expected


def audience(site, author, count):
    readers = site.people(count)
    for reader in readers:
        reader.follow(author)
        reader.home()
    return readers


def whole_profile(person):
    statuses, last = [], None
    while page := person.get(f"/api/v1/accounts/{person.id}/statuses", limit=40, max_id=last):
        statuses += page
        last = page[-1]["id"]
    return statuses


class OpenLoop:
    """Requests at a fixed rate that do not wait for one another: a slow answer delays none that comes after it.

    Each is counted from the moment at which it was due.
    """

    def __init__(self, act, rate, threads=24):
        self.act = act
        self.interval = 1 / rate
        self.latencies = []
        self.results = []
        self.failures = []
        self._stop = threading.Event()
        self._pool = concurrent.futures.ThreadPoolExecutor(threads)
        self._clock = threading.Thread(target=self._run)

    def _run(self):
        due = time.monotonic()
        while not self._stop.is_set():
            self._pool.submit(self._one, due)
            due += self.interval
            self._stop.wait(max(0, due - time.monotonic()))

    def _one(self, due):
        try:
            self.results.append(self.act())
        except Exception as failure:  # what failed is judged by the test
            self.failures.append(failure)
        self.latencies.append(time.monotonic() - due)

    def __enter__(self):
        self._clock.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._clock.join()
        self._pool.shutdown()


class Crowd:
    """People who post, like and read at a fixed rate, and remember what was acknowledged."""

    def __init__(self, site, count, seed, stubbornly=False):
        self.people = site.people(count)
        self.random = random.Random(seed)
        self.stubbornly = stubbornly
        self.posts = {person.id: [] for person in self.people}
        self.likes = {person.id: set() for person in self.people}
        self.stale = []
        self._lock = threading.Lock()
        # Each follows the next one.
        for person, other in zip(self.people, self.people[1:] + self.people[:1]):
            person.follow(other)
            person.home()

    def act(self):
        """One request or two; what it got is kept."""
        with self._lock:
            person = self.random.choice(self.people).elsewhere()
            kind = self.random.random()
        if kind < 0.5:
            return self._post(person)
        if kind < 0.65:
            return self._like(person)
        return self._read(lambda: person.call("GET", "/api/v1/timelines/home").status_code)

    def _post(self, person):
        number = secrets.token_hex(4)
        made = (publish_stubbornly(person, number) if self.stubbornly
                else person.publish(number))["id"]
        with self._lock:
            self.posts[person.id].append(made)
        own = self._read(lambda: person.get(f"/api/v1/accounts/{person.id}/statuses", limit=40))
        if made not in [status["id"] for status in own] and len(own) < 40:
            self.stale.append(made)
        return made

    def _like(self, person):
        with self._lock:
            mine = [i for ids in self.posts.values() for i in ids]
            post = self.random.choice(mine) if mine else None
        if not post:
            return None
        self._read(lambda: person.call("POST", f"/api/v1/statuses/{post}/favourite"))
        with self._lock:
            self.likes[person.id].add(post)
        return post

    def _read(self, act):
        return stubborn(act) if self.stubbornly else act()

    def is_whole(self):
        """Everything acknowledged is there, once, and nothing was read that was older than one's own write."""
        assert not self.stale
        for person, follower in zip(self.people[1:] + self.people[:1], self.people):
            made = sorted(self.posts[person.id], key=int, reverse=True)
            assert [status["id"] for status in whole_profile(person)] == made
            has_exactly(follower, made)
            for post in self.likes[person.id]:
                assert person.get(f"/api/v1/statuses/{post}")["favourited"], f"{post} was liked"
