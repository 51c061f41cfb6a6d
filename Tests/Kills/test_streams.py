"""Streams over the death of whatever carries them: who resumes has every event once."""
import json
import threading
import time

from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from people import eventually
from sockets import Socket, warm
from traffic import publish_stubbornly


class Follower:
    """Listens to a person's own stream, and comes back with its place as often as it is cut off."""

    def __init__(self, person):
        self.person, self.got, self.place = person, [], None
        self.stops = threading.Event()
        first = Socket(person, stream="user")
        warm(person, first)
        self.place = first.place
        first.close()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.stops.is_set():
            try:
                socket = Socket(self.person, stream="user", last_event_id=self.place)
                while not self.stops.is_set():
                    try:
                        message = socket.next(seconds=0.5)
                    except TimeoutError:
                        continue
                    assert message["event"] == "update"
                    self.got.append(json.loads(message["payload"])["id"])
                    self.place = socket.place
            except (ConnectionClosed, InvalidMessage, InvalidStatus, OSError):
                # Cut off, or nobody is there yet.
                time.sleep(0.1)

    def stop(self):
        self.stops.set()
        self.thread.join()


def has_each_once(cluster, site, harm):
    person = site.person()
    follower = Follower(person)
    made = []
    try:
        for number in range(24):
            made.append(publish_stubbornly(person, f"event {number}")["id"])
            if number % 6 == 3:
                harm(number)
        eventually(lambda: len(set(follower.got)) >= len(made), "every event")
    finally:
        follower.stop()
    # Two workers may bring two posts in either order.
    assert sorted(follower.got) == sorted(made)


def test_app_nodes_that_die(cluster, site):
    def harm(number):
        name = cluster.names("app")[number % 2]
        cluster.wait_for_new(name, cluster.kill(name))

    has_each_once(cluster, site, harm)


def test_a_worker_and_a_bus_that_die(cluster, site):
    def harm(number):
        name = cluster.names("worker" if number % 4 == 1 else "nats")[0]
        cluster.wait_for_new(name, cluster.kill(name))

    has_each_once(cluster, site, harm)
