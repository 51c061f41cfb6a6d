"""Buckets move while parts of the cluster are killed and stopped at random: nothing is lost, doubled or left over.

`MOVE_SEED=7` repeats the choices of a run; when they take effect is up to the machine.
"""
import json
import os
import random
import signal
import subprocess
import time


from processes import ROOT
from people import eventually
from traffic import Crowd, OpenLoop

RATE = 4
MOVES = 20
STEPS = ["planned", "prechecked", "prepared", "copying", "catchingUp", "verifying", "fencing", "fenced",
         "drained", "released", "activated", "published", "retired", "cleaned"]
EVERYTHING = ["step", "step", "step", "coordinator", "shard", "worker", "app", "etcd", "pause", "command"]
# How long a stopped process stays stopped.
PAUSE_SECONDS = 1.5
# How long one command may take in all its attempts; longer on a machine that does other work as well.
COMMAND_SECONDS = 180 * int(os.environ.get("BUDGET_FACTOR", "1"))


class Trouble:
    """Kills and stops whoever is drawn, one after the other."""

    def __init__(self, cluster, seed):
        self.cluster = cluster
        self.random = random.Random(seed)
        self.folder = cluster.failpoints()
        self.done = []

    def strike(self, command, kinds):
        kind = self.random.choice(kinds)
        if kind == "step" and self.folder:
            # The leader dies at this step, before or after the journal has it.
            place = f"{self.random.choice(STEPS)}.{self.random.choice(['before', 'after'])}"
            (self.folder / place).write_text("kill")
            self.done.append(place)
        elif kind == "command":
            # Before it has written down what it begins there is nothing to go on with.
            if is_pending(self.cluster):
                command.send_signal(signal.SIGKILL)
                self.done.append("the command")
        elif kind == "pause":
            self._pause(self.random.choice(self._running("shard", "worker", "coordinator")))
        else:
            prefix = kind if kind != "step" else "coordinator"
            self._kill(self.random.choice(self._running(prefix)))

    def _running(self, *prefixes):
        return [row for row in self.cluster.listing()["processes"]
                if row["name"].startswith(prefixes) and row["pid"]]

    def _kill(self, row):
        self.done.append(f"kill {row['name']}")
        self._signal(row, signal.SIGKILL)

    def _pause(self, row):
        self.done.append(f"pause {row['name']}")
        self._signal(row, signal.SIGSTOP)
        time.sleep(PAUSE_SECONDS)
        self._signal(row, signal.SIGCONT)

    def _signal(self, row, number):
        try:
            os.kill(row["pid"], number)
        except ProcessLookupError:
            # It ended between the listing and now.
            pass

    def end(self):
        if self.folder:
            for file in self.folder.iterdir():
                file.unlink()


def run_under(trouble, kinds, wanted, *words, pause):
    """Runs a command of cluster/ again and again until it is done, as an operator or cron would."""
    deadline = time.monotonic() + COMMAND_SECONDS
    while not is_done(trouble.cluster, wanted):
        assert time.monotonic() < deadline, f"{words} is not done; {trouble.done}"
        command = subprocess.Popen(
            [ROOT / "cluster" / words[0], *words[1:]], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while command.poll() is None:
            try:
                command.wait(pause())
            except subprocess.TimeoutExpired:
                # Towards the end nobody is in the way any more.
                if time.monotonic() < deadline - COMMAND_SECONDS / 3:
                    trouble.strike(command, kinds)
        if command.returncode:
            time.sleep(1)


def is_done(cluster, wanted):
    """The state folder knows it even when etcd is just dead."""
    settings = json.loads((cluster.home / "settings.json").read_text())
    return len(settings["shard_numbers"]) == wanted and not is_pending(cluster)


def is_pending(cluster):
    return (cluster.home / "rebalance.json").exists()


def test_moves_survive_the_death_of_anybody(cluster, site):
    seed = int(os.environ.get("MOVE_SEED", random.randrange(1 << 32)))
    print(f"MOVE_SEED={seed}")
    before = cluster.buckets()
    crowd = Crowd(site, 10, seed, stubbornly=True)
    trouble = Trouble(cluster, seed)
    draw = random.Random(seed + 1)
    known = {move["id"] for move in cluster.shardctl("status", expect=(0, 1))["moves"]}

    with OpenLoop(crowd.act, RATE) as load:
        run_under(trouble, EVERYTHING, len(before) + 1, "grow", "1", "--yes",
                  pause=lambda: draw.uniform(1.5, 4))
        # The way back is about the command itself: cut off, and typed again.
        run_under(trouble, ["command"], len(before), "shrink", "1", "--yes",
                  pause=lambda: draw.uniform(3, 8))
    trouble.end()
    cluster.wait_until_ready()

    assert cluster.buckets().keys() == before.keys()
    eventually(lambda: cluster.command("shardctl", "doctor", expect=(0, 1)).returncode == 0,
               "an end that the doctor likes", 60)
    moves = [move for move in cluster.shardctl("status")["moves"] if move["id"] not in known]
    assert len(moves) >= MOVES and all(move["over"] for move in moves), trouble.done
    assert not load.failures, (load.failures[:3], trouble.done)
    crowd.is_whole()
    print(f"{len(moves)} moves, {len(trouble.done)} strikes: {', '.join(trouble.done)}")
