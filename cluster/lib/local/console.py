"""What the commands say: one line for a step, one line for a failure."""
import os
import sys
import time

STARTED = int(os.environ.get("TESSERA_STARTED", time.time()))

# Exit statuses, as in sysexits.h.
FAILED, USAGE, REFUSED, UNAVAILABLE, UNFINISHED = 1, 64, 65, 69, 75


class Failure(Exception):
    """Something a person can mend; the message is one line and says how."""

    def __init__(self, message, status=FAILED):
        super().__init__(message)
        self.status = status


def step(text):
    print(f"[{int(time.time()) - STARTED:3d}s] {text}", flush=True)


def warn(text):
    print(f"cluster: {text}", file=sys.stderr, flush=True)


def confirm(question, yes):
    """Asks on a terminal; elsewhere only --yes is an answer."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure(f"{question} Say so with --yes", USAGE)
    if input(f"{question} Type yes: ").strip() != "yes":
        raise Failure("nothing was changed", REFUSED)
