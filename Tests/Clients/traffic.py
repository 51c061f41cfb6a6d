"""Clients under failures: requests that go on, are repeated with their key, and are judged at the end."""
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
