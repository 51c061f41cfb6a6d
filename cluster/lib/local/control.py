"""shardctl, as the commands of this folder use it: for people to see, or for an answer."""
import json
import subprocess

from .console import Failure


def run(layout, *arguments, accept=(0,)):
    """Runs shardctl, whose own lines and bars are shown."""
    done = subprocess.run(_command(layout, arguments), stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode not in accept:
        raise Failure(f"shardctl {' '.join(arguments[:2])}: {last_line(done)}")


def ask(layout, *arguments, accept=(0,)):
    """What shardctl answers to a program."""
    done = attempt(layout, *arguments, "--json")
    if done.returncode not in accept or not done.stdout:
        raise Failure(f"shardctl {' '.join(arguments)}: {last_line(done)}", done.returncode)
    return json.loads(done.stdout)


def attempt(layout, *arguments):
    return subprocess.run(_command(layout, arguments), capture_output=True, text=True, check=False)


def _command(layout, arguments):
    return [str(layout.binaries / "shardctl"), *arguments, "--config",
            str(layout.config / "shardctl.yaml")]


def last_line(done):
    lines = ((done.stderr or "") or (done.stdout or "")).strip().splitlines()
    return lines[-1] if lines else f"exit status {done.returncode}"
