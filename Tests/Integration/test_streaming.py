"""Events as they happen, through the balancer: Mastodon.py's listener, and bare WebSockets of another library."""
import json
import threading
import time

import mastodon
import pytest
import requests
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from people import eventually
from sockets import PATIENCE, Socket, warm


def test_a_post_a_like_and_a_deletion_come_as_they_happen(ana, ben):
    ben.follow(ana)
    eventually(lambda: ana.get("/api/v1/notifications"), "the follow is known")
    of_ben, of_ana = Socket(ben, stream="user"), Socket(ana, stream="user:notification")
    warm(ben, of_ben)

    post = ana.publish("Now")
    update = of_ben.until("update")
    assert update["stream"] == ["user"]
    assert json.loads(update["payload"])["id"] == post["id"]

    ben.post(f"/api/v1/statuses/{post['id']}/favourite")
    note = of_ana.until("notification")
    assert note["stream"] == ["user:notification"]
    body = json.loads(note["payload"])
    assert (body["type"], body["account"]["id"], body["status"]["id"]) == (
        "favourite", ben.id, post["id"])

    ana.call("DELETE", f"/api/v1/statuses/{post['id']}")
    assert of_ben.until("delete")["payload"] == post["id"]
    of_ben.close()
    of_ana.close()


def test_who_comes_back_misses_nothing_and_gets_nothing_twice(ana):
    socket = Socket(ana, stream="user")
    warm(ana, socket)
    place = socket.place
    socket.close()

    made = [ana.publish(f"while away {number}")["id"] for number in range(5)]
    again = Socket(ana, stream="user", last_event_id=place)
    got = [json.loads(again.until("update")["payload"])["id"] for _ in made]
    last = ana.publish("and now")["id"]

    assert sorted(got) == sorted(made)
    assert json.loads(again.until("update")["payload"])["id"] == last
    seqs = [int(message["seq"]) for message in again.heard]
    assert seqs == sorted(set(seqs)) and min(seqs) > place
    again.close()


def test_streams_are_subscribed_to_and_left(ana, ben):
    socket = Socket(ana)
    socket.send(type="subscribe", stream="hashtag", tag="Tiles")
    socket.send(type="subscribe", stream="nothing")
    assert socket.next()["status"] == 400
    time.sleep(0.3)
    ben.publish("no tag")
    tagged = ben.publish("with #tiles")
    update = socket.until("update")
    assert update["stream"] == ["hashtag", "tiles"]
    assert json.loads(update["payload"])["id"] == tagged["id"]

    socket.send(type="unsubscribe", stream="hashtag", tag="tiles")
    socket.send(type="subscribe", stream="user")
    warm(ana, socket)
    assert all(message["stream"] == ["user"] for message in socket.heard[2:])
    socket.close()


@pytest.mark.parametrize("way", ["query", "header", "protocol"])
def test_the_token_comes_in_three_ways(ana, way):
    base = ana.site.url.replace("http", "ws", 1) + "/api/v1/streaming?stream=user"
    options = {
        "query": {"uri": f"{base}&access_token={ana.token}"},
        "header": {"uri": base, "additional_headers": {"Authorization": f"Bearer {ana.token}"}},
        "protocol": {"uri": base, "subprotocols": [ana.token]},
    }[way]
    with connect(**options, open_timeout=PATIENCE) as socket:
        assert socket.subprotocol == (ana.token if way == "protocol" else None)
        socket.ping().wait(PATIENCE)


def test_without_a_good_token_nothing_opens(site, ana):
    for token in ("", "v1.forged.k1.token"):
        with pytest.raises(InvalidStatus) as refused:
            connect(f"{site.url.replace('http', 'ws', 1)}/api/v1/streaming?access_token={token}")
        assert refused.value.response.status_code == 401
    assert requests.get(f"{site.url}/api/v1/streaming/user", timeout=10).status_code == 401
    assert requests.get(f"{site.url}/api/v1/streaming/health", timeout=10).text == "OK"
    plain = requests.get(f"{site.url}/api/v1/streaming", timeout=10,
                         headers={"Authorization": f"Bearer {ana.token}"})
    assert plain.status_code == 426


def test_a_revoked_token_ends_its_socket_and_no_other(site, ana):
    other = Socket(ana, stream="user")
    application = site.application
    socket = Socket(ana, stream="user")
    warm(ana, socket)
    fresh = site.person()
    doomed = Socket(fresh, stream="user")
    warm(fresh, doomed)

    site.call("POST", "/oauth/revoke", data={
        "client_id": application["client_id"], "client_secret": application["client_secret"],
        "token": fresh.token})

    with pytest.raises(ConnectionClosed) as closed:
        while True:
            doomed.next()
    assert closed.value.rcvd.code == 1008
    warm(ana, socket)
    socket.close()
    other.close()


class Listener(mastodon.StreamListener):
    def __init__(self):
        self.updates, self.notes, self.deleted = [], [], []

    def on_update(self, status):
        self.updates.append(str(status.id))

    def on_notification(self, notification):
        self.notes.append((notification.type, str(notification.account.id)))

    def on_delete(self, status_id):
        self.deleted.append(str(status_id))


def test_mastodon_py_listens(site, ana, ben):
    client = mastodon.Mastodon(access_token=ana.token, api_base_url=site.url)
    listener = Listener()
    handle = client.stream_user(listener, run_async=True, timeout=60)
    try:
        assert client.stream_healthy()

        def heard():
            post = ana.publish("Do you hear me?")
            time.sleep(0.2)
            return post["id"] in listener.updates and post

        post = eventually(heard, "the own post by Mastodon.py")
        ben.post(f"/api/v1/statuses/{post['id']}/favourite")
        eventually(lambda: ("favourite", ben.id) in listener.notes, "the like by Mastodon.py")
        ana.call("DELETE", f"/api/v1/statuses/{post['id']}")
        eventually(lambda: post["id"] in listener.deleted, "the deletion by Mastodon.py")
    finally:
        handle.close()


def test_server_sent_events_go_on_after_the_last_seen(site, ana):
    def events(last=None):
        headers = {"Authorization": f"Bearer {ana.token}"}
        if last:
            headers["Last-Event-ID"] = last
        answer = requests.get(f"{site.url}/api/v1/streaming/user", headers=headers, stream=True,
                              timeout=PATIENCE)
        assert answer.headers["Content-Type"] == "text/event-stream"
        event = {}
        for line in answer.iter_lines(decode_unicode=True):
            if line.startswith(":"):
                continue
            if line:
                name, _, value = line.partition(": ")
                event[name] = value
            elif event:
                yield event
                event = {}

    stop = threading.Event()

    def write():
        while not stop.is_set():
            ana.elsewhere().publish("tick")
            stop.wait(0.3)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        first = next(events())
    finally:
        stop.set()
        writer.join()
    made = [ana.publish(f"after {number}")["id"] for number in range(3)]

    again = events(first["id"])
    got = []
    while not set(made) <= set(got):
        event = next(again)
        assert int(event["id"]) > int(first["id"])
        got.append(json.loads(event["data"])["id"])
    assert len(set(got)) == len(got)
