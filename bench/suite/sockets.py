"""WebSockets as a phone has them, with no library: enough of RFC 6455 to listen."""
import base64
import json
import os
import socket
import struct

from frame import Unavailable


class Ear:
    """Listens to one stream; what it hears is asked for by the caller."""

    def __init__(self, port, token, stream="user", source=None):
        self._link = socket.create_connection(
            ("127.0.0.1", port), 10, (source, 0) if source else None)
        self._link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        self._link.sendall((
            f"GET /api/v1/streaming?stream={stream} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {token}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())
        self._bytes = b""
        while b"\r\n\r\n" not in self._bytes:
            self._read()
        head, self._bytes = self._bytes.split(b"\r\n\r\n", 1)
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise Unavailable(f"no WebSocket: {head[:200]!r}")

    def _read(self):
        more = self._link.recv(65536)
        if not more:
            raise Unavailable("the WebSocket was closed")
        self._bytes += more

    def _take(self, count):
        while len(self._bytes) < count:
            self._read()
        taken, self._bytes = self._bytes[:count], self._bytes[count:]
        return taken

    def event(self, seconds=10):
        """The next event and its payload."""
        self._link.settimeout(seconds)
        while True:
            first, length = self._take(2)
            if length == 126:
                length = struct.unpack(">H", self._take(2))[0]
            elif length == 127:
                length = struct.unpack(">Q", self._take(8))[0]
            payload = self._take(length)
            if first & 15 == 9:
                # A pong with a mask of zeros says the same bytes.
                self._link.sendall(bytes([0x8A, 0x80 | length, 0, 0, 0, 0]) + payload)
            elif first & 15 == 1:
                message = json.loads(payload)
                return message["event"], json.loads(message["payload"])

    def close(self):
        self._link.close()
