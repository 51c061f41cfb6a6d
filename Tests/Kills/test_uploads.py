"""An app node that dies while a photo comes in: the retry gives the photo, and nothing of the first try shows."""
import contextlib
import os
import secrets
import signal
import socket

import pytest

from people import PHOTO
from traffic import audience, stubborn

BOUNDARY = "tiles-and-tiles"


def form(photo):
    head = (f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n'
            "Content-Type: image/jpeg\r\n\r\n").encode()
    return head + photo + f"\r\n--{BOUNDARY}--\r\n".encode()


def send_part(port, person, key, body, count):
    """Opens an upload and sends its first `count` bytes."""
    connection = socket.create_connection(("127.0.0.1", port), 20)
    connection.sendall(
        (f"POST /api/v2/media HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {person.token}\r\n"
         f"Idempotency-Key: {key}\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
         f"Content-Length: {len(body)}\r\n\r\n").encode() + body[:count])
    return connection


def stored(cluster):
    return {path for path in (cluster.home / "objects" / "objects").rglob("*") if path.is_file()}


@pytest.mark.parametrize("share", [0.5, 0.99, 1.0])
def test_an_app_node_killed_in_the_middle_of_an_upload(cluster, site, share):
    author = site.person()
    (reader,) = audience(site, author, 1)
    body, key = form(PHOTO.read_bytes()), secrets.token_hex(8)
    before, app = stored(cluster), cluster.process("media1")

    with send_part(app["port"], author, key, body, int(len(body) * share)) as connection:
        if share < 1:
            # The node has the first bytes when they lie in its temporary file.
            connection.settimeout(0.3)
            with pytest.raises(TimeoutError):
                connection.recv(1)
        os.kill(app["pid"], signal.SIGKILL)
        connection.settimeout(20)
        with contextlib.suppress(ConnectionResetError):
            # When all had arrived the answer may have been faster than the signal.
            assert connection.recv(65536) == b"" or share == 1
    cluster.wait_for_new("media1", app["pid"])

    def again():
        return author.call(
            "POST", "/api/v2/media", key=key, data=body,
            headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}).json()

    medium = stubborn(again)
    assert stubborn(again)["id"] == medium["id"]
    status = author.publish("whole", media=[medium])
    reader.sees(status)
    shown = next(s for s in reader.home() if s["id"] == status["id"])["media_attachments"]
    assert [item["id"] for item in shown] == [medium["id"]]

    # Of the first try there is at most a row that waits to be collected, which nobody is shown.
    rows = cluster.sql(cluster.shard_of(author),
                       f"SELECT id, name FROM media.medium WHERE owner_id = {author.id}"
                       " AND state IN (1, 2) AND use = 0")
    assert [row[0] for row in rows] == [medium["id"]]
    if share < 1:
        assert all(rows[0][1] in path.as_posix() for path in stored(cluster) - before)
    for kind in ("url", "preview_url"):
        photo = site.session.get(shown[0][kind], timeout=20).content
        assert photo[:2] == b"\xff\xd8" and photo[-2:] == b"\xff\xd9", "a whole JPEG"
