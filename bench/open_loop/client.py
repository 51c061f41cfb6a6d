"""HTTP/1.1 on asyncio streams, as small as an open loop of some hundreds of requests a second needs it."""
import asyncio
import json
import time
import urllib.parse

ANSWER_SECONDS = 30
# Connections that the pool keeps; more are opened while answers are slow, and closed after their answer.
KEPT = 128
# Longer unused than this, a connection is not trusted to be open still.
IDLE_SECONDS = 20


class Failed(Exception):
    """No answer, or one that is no success: what a user would see as an error."""

    def __init__(self, what, status=None):
        super().__init__(what)
        self.status = status


class Client:
    """Connections to one address, each with one request under way."""

    def __init__(self, port, host="127.0.0.1"):
        self.host, self.port = host, port
        self.idle = []

    async def call(self, method, path, token=None, key=None, fields=None):
        """The JSON of a successful answer and its Link header; any other outcome is `Failed`.

        Nothing is sent twice: what fails here would have failed for a user.
        """
        body = urllib.parse.urlencode(fields).encode() if fields else b""
        head = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        if token:
            head.append(f"Authorization: Bearer {token}")
        if key:
            head.append(f"Idempotency-Key: {key}")
        if fields:
            head.append("Content-Type: application/x-www-form-urlencoded")
        if method != "GET":
            head.append(f"Content-Length: {len(body)}")
        request = "\r\n".join(head).encode() + b"\r\n\r\n" + body
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                status, link, text = await self._exchange(request)
        except TimeoutError:
            raise Failed(f"{method} {path}: no answer within {ANSWER_SECONDS} s") from None
        except (OSError, EOFError, ValueError) as error:
            raise Failed(f"{method} {path}: {type(error).__name__} {error}") from None
        if not 200 <= status < 300:
            raise Failed(f"{method} {path}: {status} {text[:200]!r}", status)
        return json.loads(text) if text[:1] in (b"{", b"[") else None, link

    async def _exchange(self, request):
        reader, writer = await self._connection()
        done = False
        try:
            writer.write(request)
            status, keep, link, text = await _answer(reader)
            done = keep and len(self.idle) < KEPT
        finally:
            if done:
                self.idle.append((time.monotonic(), reader, writer))
            else:
                writer.close()
        return status, link, text

    async def _connection(self):
        while self.idle:
            since, reader, writer = self.idle.pop()
            if time.monotonic() - since < IDLE_SECONDS and not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self.host, self.port, limit=1 << 20)

    def close(self):
        for _, _, writer in self.idle:
            writer.close()
        self.idle = []


async def _answer(reader):
    """Status, whether the connection stays open, the Link header, the body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split(" ", 2)[1])
    fields = {}
    for line in head[1:]:
        name, _, value = line.partition(":")
        fields[name.strip().lower()] = value.strip()
    if fields.get("transfer-encoding", "").lower() == "chunked":
        text = await _chunks(reader)
    elif status in (204, 304):
        text = b""
    else:
        text = await reader.readexactly(int(fields["content-length"]))
    return status, fields.get("connection", "").lower() != "close", fields.get("link"), text


async def _chunks(reader):
    text = b""
    while True:
        size = int((await reader.readline()).split(b";")[0], 16)
        if size:
            text += await reader.readexactly(size)
        await reader.readline()
        if not size:
            return text
