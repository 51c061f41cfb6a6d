"""Prepared loads for the generator (bench/generator), and what it measured.

Python decides beforehand what is sent and when; the generator, which is C, only sends and measures. So a rate of
thousands a second does not depend on this language, and a load is the same for every peer and in every round.
"""
import array
import dataclasses
import json
import pathlib
import random
import shutil
import struct
import subprocess
import tempfile
import urllib.parse

from frame import BENCH, Unavailable

CONNECTIONS = 512
# Of what was due, this much may be sent late by the generator itself before its figures are no figures.
LATE_P99_MS = 20.0


def request(method, path, token=None, fields=None, key=None):
    """The bytes of one request."""
    body = urllib.parse.urlencode(fields).encode() if fields else b""
    head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    if token:
        head.append(f"Authorization: Bearer {token}")
    if key:
        head.append(f"Idempotency-Key: {key}")
    if fields:
        head.append("Content-Type: application/x-www-form-urlencoded")
    if method != "GET":
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


class Plan:
    """Requests of some kinds, and when each is due."""

    def __init__(self, kinds):
        self.kinds = list(kinds)
        self._requests, self._known = [], {}
        self._arrivals = array.array("Q")

    def add(self, kind, message):
        """The number of a request, which may then be due any number of times."""
        number = self._known.get((kind, message))
        if number is None:
            number = self._known[kind, message] = len(self._requests)
            self._requests.append(
                struct.pack("<II", self.kinds.index(kind), len(message)) + message)
        return number

    def due(self, seconds, number):
        self._arrivals.append(int(seconds * 1e9))
        self._arrivals.append(number)

    def poisson(self, rate, seconds, choose, seed):
        """Arrivals of many people who know nothing of each other; `choose(random)` gives (kind, message)."""
        chooser = random.Random(seed)
        at = chooser.expovariate(rate)
        while at < seconds:
            self.due(at, self.add(*choose(chooser)))
            at += chooser.expovariate(rate)
        return self

    @property
    def length(self):
        return len(self._arrivals) // 2

    def write(self, path):
        text = struct.pack("<8sQQ", b"TPLAN1", len(self._requests), self.length)
        text += b"".join(self._requests)
        text += b"\0" * (-len(text) % 8)
        with open(path, "wb") as file:
            file.write(text)
            self._arrivals.tofile(file)


class Histogram:
    """Counts by value in nanoseconds, as the generator prints them; rounds are added up."""

    def __init__(self, printed=None):
        self.most = printed["most"] if printed else 0
        values = printed["values"] if printed else []
        self.counts = dict(zip(values[::2], values[1::2]))

    def __iadd__(self, other):
        self.most = max(self.most, other.most)
        for value, count in other.counts.items():
            self.counts[value] = self.counts.get(value, 0) + count
        return self

    @property
    def count(self):
        return sum(self.counts.values())

    def milliseconds(self, share):
        wanted, seen = self.count * share, 0
        for value in sorted(self.counts):
            seen += self.counts[value]
            if seen > wanted:
                return value / 1e6
        return self.most / 1e6


@dataclasses.dataclass
class Outcome:
    """What became of the requests of one kind, or of all."""

    ok: int = 0
    bytes: int = 0
    failed: dict = dataclasses.field(default_factory=dict)
    latency: Histogram = dataclasses.field(default_factory=Histogram)

    def __iadd__(self, other):
        self.ok += other.ok
        self.bytes += other.bytes
        for reason, count in other.failed.items():
            self.failed[reason] = self.failed.get(reason, 0) + count
        self.latency += other.latency
        return self

    @property
    def errors(self):
        return sum(self.failed.values())


class Measured:
    """What the generator printed: each kind, each second, and how far it was from keeping its own time."""

    def __init__(self, kinds, lines):
        *windows, whole = map(json.loads, lines)
        self.windows = [{**window, "kind": kinds[window["kind"]]} for window in windows]
        # By the monotonic clock.
        self.start = whole["start"]
        self.seconds = whole["seconds"]
        self.cpu_seconds = whole["cpu_seconds"]
        self.late_p99_ms = whole["late_p99_ms"]
        self.kinds = {
            kind: Outcome(one["ok"], one["bytes"], one["failed"], Histogram(one["histogram"]))
            for kind, one in zip(kinds, whole["kinds"])}

    @property
    def all(self):
        total = Outcome()
        for outcome in self.kinds.values():
            total += outcome
        return total

    def refuse_errors(self, whom):
        if self.all.errors:
            raise Unavailable(f"{whom} answered with errors: {self.all.failed}")
        return self


class Running:
    """The generator at work; `wait` gives what it measured."""

    def __init__(self, command, plan, folder):
        self.kinds, self.folder = plan.kinds, folder
        plan.write(folder / "plan")
        # Into files: a pipe that nobody reads would make it wait.
        with open(folder / "out", "wb") as out, open(folder / "error", "wb") as error:
            self.process = subprocess.Popen(
                [command[0], command[1], str(folder / "plan"), *command[2:]], stdout=out, stderr=error)

    def wait(self):
        status = self.process.wait()
        lines = (self.folder / "out").read_text().splitlines()
        error = (self.folder / "error").read_text().strip()
        shutil.rmtree(self.folder)
        if status:
            raise Unavailable(f"the generator ended with {status}: {error}")
        return Measured(self.kinds, lines)


class Generator:
    def __init__(self, frame):
        self.frame = frame
        self.binary = frame.c_program(BENCH / "generator" / "generator.c", "-O2")

    def _start(self, port, plan, *rest):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="load-", dir=self.frame.folder))
        return Running([str(self.binary), str(port), *map(str, rest)], plan, folder)

    def open(self, port, plan, warm=0, connections=CONNECTIONS):
        """Sends each request when it is due; does not wait for the end."""
        return self._start(port, plan, connections, "open", warm)

    def closed(self, port, plan, seconds, warm=0.3, connections=64):
        """Sends as fast as answers come; waits for the end."""
        return self._start(port, plan, connections, "closed", warm, seconds).wait()
