"""WebSockets by another people's library, as the tests' people use them."""
import json

from websockets.sync.client import connect

PATIENCE = 30


class Socket:
    """A WebSocket that remembers what it was told."""

    def __init__(self, person, url=None, headers=None, token=True, **parameters):
        query = dict(parameters)
        if token:
            query["access_token"] = person.token
        text = "&".join(f"{name}={value}" for name, value in query.items())
        base = (url or person.site.url).replace("http", "ws", 1)
        self.connection = connect(
            f"{base}/api/v1/streaming?{text}", additional_headers=headers, open_timeout=PATIENCE)
        self.heard = []

    def next(self, seconds=PATIENCE):
        message = json.loads(self.connection.recv(timeout=seconds))
        self.heard.append(message)
        return message

    def until(self, event):
        """The payload of the next event of this kind."""
        while True:
            message = self.next()
            if message.get("event") == event:
                return message

    def send(self, **message):
        self.connection.send(json.dumps(message))

    def close(self):
        self.connection.close()

    @property
    def place(self):
        return max(int(message["seq"]) for message in self.heard if "seq" in message)


def warm(person, socket):
    """Makes sure that the stream is open: the first own post comes."""
    post = person.publish("Am I heard?")
    while json.loads(socket.until("update")["payload"])["id"] != post["id"]:
        pass
