"""The parts of the benchmark suite that its figures stand on."""
import importlib
import socket
import subprocess
import sys
import threading
import time

import house
import pytest

BENCH = house.ROOT / "bench"
sys.path.insert(0, str(BENCH))

from suite import pages, plots, world  # noqa: E402
from suite.load import Histogram, Plan, Running, request  # noqa: E402

STALL = 0.6
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n"


@pytest.fixture(scope="session")
def generator(tmp_path_factory):
    binary = tmp_path_factory.mktemp("generator") / "generator"
    subprocess.run(
        ["cc", "-O1", "-o", str(binary), str(BENCH / "generator" / "generator.c")], check=True)
    return binary


class Site:
    """Answers every request alike; from `stop_at` seconds after the first it answers nobody for a while."""

    def __init__(self, answer, stop_at=None):
        self.answer, self.stop_at, self.began = answer, stop_at, None
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                link, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link):
        try:
            while link.recv(4096):
                now = time.monotonic()
                self.began = self.began or now
                if self.stop_at is not None and self.stop_at <= now - self.began < self.stop_at + STALL:
                    time.sleep(self.began + self.stop_at + STALL - now)
                link.sendall(self.answer)
        except OSError:
            # The generator is done and has gone.
            link.close()


def run(generator, folder, port, plan, *rest):
    folder.mkdir()
    return Running([str(generator), str(port), *map(str, rest)], plan, folder).wait()


def even(rate, seconds):
    plan = Plan(["read"])
    for number in range(int(rate * seconds)):
        plan.due(number / rate, plan.add("read", request("GET", "/")))
    return plan


def test_a_server_that_stops_is_charged_with_all_that_fell_due_meanwhile(generator, tmp_path):
    site = Site(ANSWER, stop_at=0.5)

    measured = run(generator, tmp_path / "load", site.port, even(100, 2), 400, "open", 0)

    outcome = measured.kinds["read"]
    late = sum(count for value, count in outcome.latency.counts.items() if value > 0.1e9)
    assert (outcome.ok, outcome.errors) == (200, 0)
    # What fell due in the last tenth of a second of the pause waited for less than that.
    assert late >= 0.8 * (STALL - 0.1) * 100
    assert outcome.latency.most >= 0.9 * STALL * 1e9


def test_one_connection_does_not_hide_a_pause(generator, tmp_path):
    """Requests wait for the connection, and their time counts from when they were due."""
    site = Site(ANSWER, stop_at=0.5)

    measured = run(generator, tmp_path / "load", site.port, even(100, 2), 1, "open", 0)

    outcome = measured.kinds["read"]
    late = sum(count for value, count in outcome.latency.counts.items() if value > 0.1e9)
    assert outcome.ok == 200
    assert late >= 0.8 * (STALL - 0.1) * 100


def test_answers_in_chunks_are_read_to_their_end(generator, tmp_path):
    site = Site(CHUNKED)

    measured = run(generator, tmp_path / "load", site.port, even(200, 0.5), 4, "open", 0)

    assert measured.kinds["read"].ok == 100
    assert measured.kinds["read"].bytes == 800


def test_what_is_no_success_is_an_error(generator, tmp_path):
    site = Site(ANSWER.replace(b"200 OK", b"503 Busy"))

    measured = run(generator, tmp_path / "load", site.port, even(100, 0.2), 4, "closed", 0, 0.2)

    assert measured.kinds["read"].ok == 0
    assert set(measured.kinds["read"].failed) == {"503"}


def test_nobody_there_is_an_error_and_no_hang(generator, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]

    measured = run(generator, tmp_path / "load", port, even(100, 0.2), 4, "open", 0)

    assert measured.kinds["read"].failed == {"no connection": 20}


def test_histograms_of_rounds_add_up():
    first = Histogram({"most": 30, "values": [10, 2, 30, 1]})
    first += Histogram({"most": 50, "values": [30, 1, 50, 6]})

    assert first.count == 10
    assert first.milliseconds(0.5) == 50 / 1e6
    assert first.milliseconds(0.1) == 10 / 1e6


def test_a_world_is_the_same_for_a_seed_and_whole():
    made = [world.World(seed=7, people=200, posts=1_000, readers={20: 10}, ending=1_800_000_000)
            for _ in range(2)]

    assert made[0].posts == made[1].posts and made[0].following == made[1].following
    for reader in made[0].readers:
        friends = made[0].following[reader]
        assert len(set(friends)) == 20 and reader not in friends
        assert made[0].home(reader) == sorted(
            (post for post, author in made[0].posts if author in {*friends, reader}),
            reverse=True)[:world.HOME_BOUND]
    for post, author in made[0].posts:
        assert world.bucket_of(post) == world.bucket_of(author)


def test_every_scenario_says_what_it_is_and_runs_alone():
    for file in (BENCH / "scenarios").glob("[a-z]*.py"):
        scenario = importlib.import_module(f"scenarios.{file.stem}")
        assert scenario.__doc__ and callable(scenario.run), file.name
        for spec in getattr(scenario, "PLOTS", []):
            assert {"title", "x", "y", "metrics", "series"} <= spec.keys(), file.name


def test_a_page_of_results_is_written(tmp_path):
    rows = [{"scenario": "fanout-cost", "variant": f"tessera@{x}", "peer": None, "metric": "cpu_us_follower",
             "median": y, "min": y / 2, "max": y * 2, "rounds": 3, "ratio": None}
            for x, y in ((100, 3.0), (1_000, 2.0), (10_000, 2.5))]
    result = {"rows": rows, "notes": [], "failure": None, "commit": "abc", "date": "today", "seconds": 1,
              "quick": False, "machine": {"cores": 2}, "load_before": 0.1}

    pages.render(tmp_path, {"fanout-cost": result}, ["fanout-cost", "hello"])

    page = (tmp_path / "results.md").read_text()
    assert "![CPU of a fan-out for each follower](fanout-cost-1.svg)" in page
    assert "| tessera at 1000 | 2 [1–4] |" in page
    assert "`hello`: has not been run." in page
    assert (tmp_path / "fanout-cost-1.svg").read_text().count("<circle") == 3


def test_axes_have_round_ticks():
    assert plots.Axis([1, 1000], 0, 100, log=True).ticks() == [1, 10, 100, 1000]
    assert plots.Axis([0, 10], 0, 100, log=False).ticks() == [0, 5, 10]
