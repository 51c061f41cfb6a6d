"""What the commands say: one line for a step, one line for a failure."""
import os
import sys
import time

STARTED = int(os.environ.get("TESSERA_STARTED", time.time()))


class Failure(Exception):
    """Something a person can mend; the message is one line and says how."""


def step(text):
    print(f"[{int(time.time()) - STARTED:3d}s] {text}", flush=True)


def warn(text):
    print(f"cluster: {text}", file=sys.stderr, flush=True)
