"""Buckets move while one part of the cluster after the other is killed or stopped, at every step of a move: nothing is
lost, doubled or left over, and no person has to help.

The table says who is struck where. `MOVE_SEED=7` repeats the requests of a run; when they meet a strike is up to the machine.
"""
import contextlib
import json
import os
import pathlib
import random
import signal
import subprocess
import time

import pytest

from people import eventually
from processes import ROOT
from traffic import Crowd, OpenLoop

RATE = 4
# How long a stopped process stays stopped, beyond the moment in which the move comes to it.
PAUSE_SECONDS = 1.5
# How long one move may take, whoever dies; longer on a machine that does other work as well.
MOVE_SECONDS = 60 * int(os.environ.get("BUDGET_FACTOR", "1"))

# The coordinator dies before or after the journal has this step; a planned move is at its precheck.
STEPS = ["precheck.before", "prechecked.before", "prepared.after", "copying.before", "catchingUp.after",
         "verifying.before", "fencing.after", "fenced.before", "drained.after", "released.before",
         "activated.after", "published.before", "retired.after", "cleaned.before"]
# While the coordinator stands still at this place, somebody else is killed, or stopped for a while.
OTHERS = [
    ("copying.after", "source", "kill"), ("released.after", "source", "kill"), ("fenced.after", "source", "pause"),
    ("catchingUp.after", "target", "kill"), ("released.before", "target", "kill"), ("drained.before", "target", "pause"),
    ("fenced.before", "worker", "kill"), ("released.after", "worker", "pause"),
    ("fencing.after", "app", "kill"), ("activated.before", "app", "pause"),
    ("verifying.after", "etcd", "kill"), ("drained.after", "etcd", "pause"),
]
STRIKES = [(place, "coordinator", "kill") for place in STEPS] + OTHERS


class Strikes:
    """Puts one bucket from shard to shard, and strikes once in each move."""

    def __init__(self, cluster, bucket):
        self.cluster = cluster
        self.bucket = bucket
        self.folder = cluster.failpoints()

    def move(self, place, role, action):
        known = {move["id"] for move in self._status()["moves"]}
        source, target = self._ends()
        file = self.folder / place
        file.write_text("kill" if role == "coordinator" else "pause")
        self.cluster.command("shardctl", "pin", str(self.bucket), "--to", target)
        self.cluster.command("shardctl", "apply", "--yes")
        # Whoever comes there takes the file away, and is dead or stands still.
        eventually(lambda: not file.exists(), f"a move at {place}", MOVE_SECONDS)
        if role == "coordinator":
            self._depose()
        else:
            with self._standing_still():
                self._strike({"source": source, "target": target}.get(role, role), action)
        moves = eventually(lambda: self._ended(known), f"the end of the move struck at {place}", MOVE_SECONDS)
        assert self._ends()[0] == (target if moves[-1]["step"] == "cleaned" else source)

    def _ended(self, known):
        state = self._status()
        moves = [move for move in state["moves"] if move["id"] not in known]
        return moves if moves and not state["pending"] and all(move["over"] for move in moves) else None

    def _status(self):
        """Status 1 says that a part is not well, 69 that etcd is on its way back."""
        run = eventually(lambda: self._answered(), "an answer of shardctl status", MOVE_SECONDS)
        return json.loads(run.stdout)

    def _answered(self):
        run = self.cluster.command("shardctl", "status", "--json", expect=(0, 1, 69))
        return run if run.stdout else None

    def _ends(self):
        """Who owns the bucket, by the owner rows, and who does not."""
        owners = eventually(self._owners, "an owner", MOVE_SECONDS)
        names = [f"s{name.removeprefix('shard')}" for name in self.cluster.names("shard")]
        return owners[0], next(name for name in names if name not in owners)

    def _owners(self):
        query = f"SELECT 1 FROM control.bucket_owner WHERE bucket = {self.bucket} AND state = 'own'"
        with contextlib.suppress(AssertionError):
            return [f"s{name.removeprefix('shard')}" for name in self.cluster.names("shard")
                    if self.cluster.sql(name, query)]
        return None

    def _strike(self, who, action):
        name = f"shard{who[1:]}" if who in ("s1", "s2", "s3") else who
        row = self.cluster.process(next(one for one in self.cluster.names(name)))
        os.kill(row["pid"], signal.SIGKILL if action == "kill" else signal.SIGSTOP)
        if action == "pause":
            time.sleep(PAUSE_SECONDS)
            os.kill(row["pid"], signal.SIGCONT)

    @contextlib.contextmanager
    def _standing_still(self):
        """The coordinator that has stopped itself goes on afterwards."""
        stopped = eventually(self._stopped, "a coordinator that stands still")
        yield
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)

    def _stopped(self):
        rows = [row for row in self.cluster.listing()["processes"]
                if row["name"].startswith("coordinator") and row["pid"]]
        return [row["pid"] for row in rows
                if ") T " in pathlib.Path(f"/proc/{row['pid']}/stat").read_text()]

    def _depose(self):
        """Ends the dead leader's lease, which etcd would do some seconds later: a stand-by takes over."""
        secret = (self.cluster.home / "secrets" / "etcd-root").read_text().strip()
        endpoint = f"http://127.0.0.1:{self.cluster.process('etcd')['port']}"
        subprocess.run(["etcdctl", "--endpoints", endpoint, "--user", f"root:{secret}", "del",
                        "/tessera/coordinator/leader"], check=True, capture_output=True,
                       env={**os.environ, "ETCDCTL_API": "3"})

    def end(self):
        for file in self.folder.iterdir():
            file.unlink()


def seeded():
    seed = int(os.environ.get("MOVE_SEED", random.randrange(1 << 32)))
    print(f"MOVE_SEED={seed}")
    return seed


def is_clean(cluster):
    """By itself: the last move may still be tidying up."""
    cluster.wait_until_ready()
    eventually(lambda: cluster.command("shardctl", "doctor", expect=(0, 1, 69)).returncode == 0,
               "an end that the doctor likes", MOVE_SECONDS)


def test_moves_survive_a_strike_at_every_step(cluster, site):
    if not cluster.failpoints():
        pytest.skip("the coordinators run without TESSERA_FAILPOINTS")
    crowd = Crowd(site, 10, seeded(), stubbornly=True)
    strikes = Strikes(cluster, crowd.people[0].bucket)

    try:
        with OpenLoop(crowd.act, RATE) as load:
            for place, role, action in STRIKES:
                began = time.monotonic()
                strikes.move(place, role, action)
                print(f"{place}: {action} {role}, {time.monotonic() - began:.1f} s")
    finally:
        strikes.end()
        cluster.command("shardctl", "unpin", str(strikes.bucket))

    is_clean(cluster)
    assert not load.failures, load.failures[:3]
    crowd.is_whole()


def test_a_command_that_is_cut_off_goes_on_when_it_is_typed_again(cluster, site):
    seed = seeded()
    draw = random.Random(seed)
    before = cluster.buckets()
    crowd = Crowd(site, 6, seed, stubbornly=True)

    with OpenLoop(crowd.act, RATE) as load:
        for words, wanted in ((("grow", "1", "--yes"), len(before) + 1), (("shrink", "1", "--yes"), len(before))):
            run_cut_off(cluster, words, wanted, draw)

    assert cluster.buckets().keys() == before.keys()
    is_clean(cluster)
    assert not load.failures, load.failures[:3]
    crowd.is_whole()


def run_cut_off(cluster, words, wanted, draw):
    """Types a command again and again until it is done, as an operator or cron would; the first ones are killed."""
    for attempt in range(10):
        command = subprocess.Popen(
            [ROOT / "cluster" / words[0], *words[1:]], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # Before it has written down what it begins there is nothing to go on with.
        eventually(lambda: command.poll() is not None or is_pending(cluster), f"the beginning of {words}", 60)
        try:
            command.wait(draw.uniform(0.2, 3) if attempt < 2 else 4 * MOVE_SECONDS)
        except subprocess.TimeoutExpired:
            command.send_signal(signal.SIGKILL)
            command.wait()
        settings = json.loads((cluster.home / "settings.json").read_text())
        if len(settings["shard_numbers"]) == wanted and not is_pending(cluster):
            return
    raise AssertionError(f"{words} is not done")


def is_pending(cluster):
    return (cluster.home / "rebalance.json").exists()
