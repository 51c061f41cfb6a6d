"""A load that goes on while something happens to the cluster, and what its users saw before, meanwhile and after."""
import dataclasses
import os
import signal
import statistics
import subprocess
import threading
import time

from frame import Unavailable, tree

from . import mixes, worlds
from .cluster import say
from .load import Generator

RATE = 250
PHASES = ("before", "during", "after")


def over_time(title):
    return {"title": title, "x": "seconds", "y": "ms", "metrics": ["window_p99_ms"], "series": ["home"],
            "log": True}


def run(frame, scenario, act, undo=None, lasting=None, prepare=None, **settings):
    """Home reads and a few posts at a constant rate; after a third of the time `act(cluster)` is called, and `undo` at two
    thirds; `prepare` before all.

    What fell due between the two is `during`. Prints each phase, and the p99 of home reads of each second.
    """
    cluster, actions = worlds.small(frame, **settings)
    length = frame.options.seconds
    if prepare:
        prepare(cluster)
    mix = mixes.Mix(home=(90, actions.home), status=(8, actions.status), compose=(2, actions.compose))
    generator = Generator(frame)
    generator.open(cluster.port, mix.plan(RATE, 3, 0)).wait()
    phases = {phase: [] for phase in PHASES}
    series, failures = {}, {}
    for number in range(frame.options.rounds):
        running = generator.open(cluster.port, mix.plan(RATE, length, number + 1))
        began = time.monotonic()
        time.sleep(length / 3)
        say(f"{scenario}: round {number + 1}")
        hurt = time.monotonic() - began
        found = act(cluster)
        if undo:
            time.sleep(max(0, length * 2 / 3 - (time.monotonic() - began)))
            undo(cluster, found)
        healed = max(time.monotonic() - began, hurt + (lasting or 0))
        measured = running.wait()
        for reason, count in measured.all.failed.items():
            failures[reason] = failures.get(reason, 0) + count
        for window in measured.windows:
            at = window["at"]
            phase = "before" if at <= hurt else "during" if at <= healed + 1 else "after"
            phases[phase].append({**window, "round": number})
            if window["kind"] == "home" and window["ok"]:
                series.setdefault(round(at), []).append(window["p99_ms"])
    if not phases["after"]:
        raise Unavailable("the load was over before the cluster was whole again; give more --seconds")
    for kind in mix.kinds:
        for phase, windows in phases.items():
            mine = [one for one in windows if one["kind"] == kind]
            answered = [one for one in mine if one["ok"]]
            if not answered:
                continue
            frame.emit(scenario, f"{kind}-{phase}", None, "p50_ms", [one["p50_ms"] for one in answered])
            frame.emit(scenario, f"{kind}-{phase}", None, "p99_ms", [one["p99_ms"] for one in answered])
            frame.emit(scenario, f"{kind}-{phase}", None, "max_ms", [max(one["max_ms"] for one in answered)])
            frame.emit(scenario, f"{kind}-{phase}", None, "errors", [sum(one["errors"] for one in mine)])
    for at, values in sorted(series.items()):
        frame.emit(scenario, f"home@{at}", None, "window_p99_ms", [statistics.median(values)])
    if failures:
        frame.note(scenario, "What failed, over all rounds",
                   "\n".join(f"{count} x {reason}" for reason, count in sorted(failures.items())))
    recovery = [back_to_normal(phases, number) for number in range(frame.options.rounds)]
    frame.emit(scenario, "home", None, "seconds_to_normal", recovery)


def back_to_normal(phases, number):
    """Seconds after the event from which on the p99 of home reads stayed below twice what it was before."""
    def of(phase):
        return [one for one in phases[phase] if one["round"] == number and one["kind"] == "home"]

    normal = 2 * statistics.median(one["p99_ms"] for one in of("before"))
    later = of("during") + of("after")
    bad = [one["at"] for one in later if one["p99_ms"] > normal or one["errors"]]
    return max(bad) - min(one["at"] for one in later) + 1 if bad else 0


def kill(cluster, names):
    """Kills supervised processes, which are restarted at once; their names."""
    running = cluster.processes()
    for name in names:
        os.kill(running[name], signal.SIGKILL)
    return names


def pause(cluster, names):
    """Stops processes so that they neither answer nor close their connections."""
    running = cluster.processes()
    pids = [pid for name in names for pid in tree(running[name])]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    return pids


def resume(cluster, pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            continue


# A slow process runs for this share of each of these seconds.
SLOW_SHARE, SLOW_SECONDS = 0.1, 0.1
# How long everything may take to be as before when a fault is over.
WHOLE_SECONDS = 60


@dataclasses.dataclass(frozen=True, eq=False)
class Fault:
    """Something that happens to processes, and the features that are allowed to fail of it."""

    name: str
    processes: list
    how: str
    own: set

    def act(self, cluster):
        """Makes it happen; gives what ends it."""
        if self.how == "killed":
            kill(cluster, self.processes)
            return lambda: None
        if self.how == "stopped":
            supervise(cluster, "stop", self.processes)
            return lambda: supervise(cluster, "start", self.processes)
        pids = pause(cluster, self.processes)
        if self.how == "hung":
            return lambda: resume(cluster, pids)
        return slow(cluster, pids)


def slow(cluster, pids):
    """Lets processes run now and then only; gives what ends it. They are stopped when it is called."""
    over = threading.Event()

    def act():
        while not over.wait(SLOW_SECONDS * (1 - SLOW_SHARE)):
            resume(cluster, pids)
            over.wait(SLOW_SECONDS * SLOW_SHARE)
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)

    thread = threading.Thread(target=act, daemon=True)
    thread.start()

    def end():
        over.set()
        thread.join()
        resume(cluster, pids)

    return end


def supervise(cluster, action, names):
    """Starts or stops supervised processes, which stay so."""
    run = subprocess.run(
        ["supervisorctl", "-c", str(cluster.home / "config" / "supervisord.conf"), action, *names],
        capture_output=True, text=True, check=False)
    if "ERROR" in run.stdout and "already" not in run.stdout:
        raise Unavailable(f"supervisorctl {action}: {run.stdout.strip()[-200:]}")


def wait_until_whole(cluster):
    """Until every process runs and the balancer sends requests to every node."""
    deadline = time.monotonic() + WHOLE_SECONDS
    while True:
        status = cluster.status()
        if status["ready"] and all(row["state"] == "running" for row in status["processes"]) and all(
                pool["up"] == pool["nodes"] for pool in status["pools"]):
            return
        if time.monotonic() > deadline:
            raise Unavailable(f"not whole again: {status}")
        time.sleep(0.2)
