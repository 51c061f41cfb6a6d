"""What every scenario needs: servers as children, CPU time of a process tree, wrk, interleaved rounds."""
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

BENCH = pathlib.Path(__file__).resolve().parent
ROOT = BENCH.parent
BUILD = ROOT / ".build"
PEERS = BUILD / "bench-peers"
# As for cluster/up: roles that were built elsewhere.
RELEASE = pathlib.Path(os.environ.get("TESSERA_BUILD", BUILD / "release"))


class Unavailable(Exception):
    """Something that the scenario needs is missing; the message says what to do."""


class Server:
    """A child process that listens on a port, with the CPU time of all its processes."""

    def __init__(self, name, command, port, env=None, log=None, user=None):
        self.name = name
        self.port = port
        self.log = open(log or os.devnull, "ab")
        self.process = subprocess.Popen(
            [str(part) for part in command], stdout=self.log, stderr=self.log,
            stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})}, start_new_session=True,
            user=user)
        deadline = time.monotonic() + 20
        while True:
            if self.process.poll() is not None:
                raise Unavailable(f"{name} ended at once with {self.process.returncode}: {command}")
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    self.stop()
                    raise Unavailable(f"{name} does not listen on port {port}") from None
                time.sleep(0.05)

    def cpu_seconds(self):
        """Of every process below it, those that have ended too."""
        return (sum(cpu_of(pid) for pid in tree(self.process.pid))
                + ended_cpu(self.process.pid))

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


def tree(pid):
    """The process and its descendants."""
    pids = [pid]
    for parent in pids:
        try:
            children = pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text()
        except OSError:
            continue
        pids += [int(child) for child in children.split()]
    return pids


def ended_cpu(pid):
    """CPU seconds of the children that the process has waited for, in steps of a clock tick."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def cpu_of(pid):
    """User and system CPU seconds, from the scheduler's nanoseconds of every thread."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(task.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            continue
    return total / 1e9


class Frame:
    def __init__(self, options):
        self.options = options
        self.random = random.Random(options.seed)
        self.servers = []
        self._endings = []
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tessera-bench-"))

    def on_close(self, end):
        """Has `end` called when the scenario is over, however it ended; the last one first."""
        self._endings.append(end)

    def close(self):
        while self._endings:
            self._endings.pop()()
        for server in reversed(self.servers):
            server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    # What runs

    def start(self, name, command, port, **more):
        server = Server(name, command, port, log=self.folder / f"{name}.log", **more)
        self.servers.append(server)
        return server

    def product(self, name):
        """A release binary of this package."""
        binary = RELEASE / name
        if not binary.exists():
            raise Unavailable(f"{name} is not built; run cluster/up, or "
                              "swift build -c release -Xswiftc -enable-testing")
        return binary

    def c_peer(self, name, *flags):
        """Compiles bench/peers/NAME.c, once for each change."""
        return self.c_program(BENCH / "peers" / f"{name}.c", *flags)

    def c_program(self, source, *flags):
        """Compiles one file, once for each change of it or of a header beside it."""
        binary = PEERS / source.stem
        newest = max(file.stat().st_mtime for file in [source, *source.parent.glob("*.h")])
        if not binary.exists() or binary.stat().st_mtime < newest:
            PEERS.mkdir(parents=True, exist_ok=True)
            subprocess.run(
                ["cc", "-O2", "-Wall", "-o", str(binary), str(source), *flags], check=True)
        return binary

    def swift_peer(self, name):
        """Builds the small package bench/peers/NAME in release mode."""
        package, scratch = BENCH / "peers" / name, PEERS / f"{name}-build"
        binary = scratch / "release" / name
        newest = max(file.stat().st_mtime for file in package.rglob("*.swift"))
        if not binary.exists() or binary.stat().st_mtime < newest:
            print(f"building the peer {name}, which takes minutes", file=sys.stderr, flush=True)
            build = subprocess.run(
                ["swift", "build", "-c", "release", "--package-path", str(package),
                 "--scratch-path", str(scratch)], capture_output=True, text=True)
            if build.returncode:
                raise Unavailable(f"{name} does not build:\n{build.stdout[-2000:]}")
        return binary

    def tool(self, name, package):
        """The path of a program, or a message that names its Debian package."""
        for folder in os.environ["PATH"].split(":") + ["/usr/sbin", "/sbin"]:
            if os.access(f"{folder}/{name}", os.X_OK):
                return f"{folder}/{name}"
        raise Unavailable(f"{name} is missing; install it with: apt-get install {package}")

    # How it is measured

    def wrk(self, server, path, headers=(), script=None):
        """Loads one path, or what a Lua script asks for.

        Returns rps, CPU microseconds a request and latencies in milliseconds.
        """
        command = [
            self.tool("wrk", "wrk"), "-t1", f"-c{self.options.connections}",
            f"-d{self.options.seconds}s", "--latency",
            *[part for header in headers for part in ("-H", header)],
            *(["-s", str(script)] if script else []),
            f"http://127.0.0.1:{server.port}{path}"]
        before = server.cpu_seconds()
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        used = server.cpu_seconds() - before
        if re.search(r"Non-2xx|Socket errors", out):
            raise Unavailable(f"{server.name} answered with errors:\n{out}")
        requests = int(re.search(r"(\d+) requests in", out).group(1))
        return {
            "rps": float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)),
            "cpu_us": used / requests * 1e6,
            "p50_ms": milliseconds(re.search(r"(?m)^\s+50%\s+(\S+)", out).group(1)),
            "p99_ms": milliseconds(re.search(r"(?m)^\s+99%\s+(\S+)", out).group(1)),
        }

    def rounds(self, scenario, measures, references=(), warm=True):
        """Runs every measure once a round, in random order, and prints medians and ratios.

        measures: name -> function that returns {metric: value}; references: the peers, in the order in
        which the other variants are compared with them. A name SERIES@NUMBER is a point of a plot, and is
        compared with the peers at the same number.
        """
        if warm:
            for measure in measures.values():
                measure()  # Warms caches, connections and branch predictors; not counted.
        self.prioritize()
        taken = {name: [] for name in measures}
        for _ in range(self.options.rounds):
            order = list(measures)
            self.random.shuffle(order)
            for name in order:
                taken[name].append(measures[name]())
        for name in measures:
            for peer in _peers(name, references, measures):
                for metric in taken[name][0]:
                    theirs = [r[metric] for r in taken[peer] if metric in r] if peer else None
                    self.emit(scenario, name, peer if theirs else None, metric,
                              [r[metric] for r in taken[name]], theirs)
        return taken

    def prioritize(self):
        """Gives --nice to the servers, to all their processes and to the load generator.

        A session is a scheduling group of its own where the kernel groups by session, and each backend of
        PostgreSQL begins one: a nice value counts within its group only, so the group gets it too.
        """
        if self.options.nice is None:
            return
        for pid in [os.getpid(), *(p for s in self.servers for p in tree(s.process.pid))]:
            group = pathlib.Path(f"/proc/{pid}/autogroup")
            if group.exists():
                group.write_text(str(self.options.nice))
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                os.setpriority(os.PRIO_PROCESS, int(task.name), self.options.nice)

    def emit(self, scenario, variant, peer, metric, values, peer_values=None):
        ratio = None
        if peer_values:
            beside = [mine / theirs for mine, theirs in zip(values, peer_values) if theirs]
            ratio = statistics.median(beside) if beside else None
        row = {
            "scenario": scenario, "variant": variant, "peer": peer, "metric": metric,
            "median": round(statistics.median(values), 3), "min": round(min(values), 3),
            "max": round(max(values), 3), "rounds": len(values),
            "ratio": None if ratio is None else round(ratio, 3)}
        if self.options.json:
            print(json.dumps(row), flush=True)
        else:
            beside = "" if row["ratio"] is None else f"{row['ratio']:>8} x {peer}"
            print(f"{variant:28} {metric:12} {row['median']:>12} "
                  f"[{row['min']} - {row['max']}] {beside}", flush=True)

    def note(self, scenario, title, text):
        """Something that a reader of the results should see as it was printed."""
        if self.options.json:
            print(json.dumps({"scenario": scenario, "note": title, "text": text}), flush=True)
        else:
            print(f"\n{title}\n{text}", flush=True)


def _peers(name, references, measures):
    """Whom a variant is compared with; nobody, if it is a peer itself or there is none."""
    at = name[name.index("@"):] if "@" in name else ""
    peers = [peer + at for peer in references if peer + at in measures]
    return [None] if name in peers or not peers else peers


def milliseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60000}[unit]


def free_port(start):
    """The first port from `start` on which nothing listens."""
    for port in range(start, start + 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise Unavailable(f"no free port from {start} on")
