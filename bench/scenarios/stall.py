"""How long others wait while a memcached stands still for a second.

One loop answers two kinds of requests at a constant rate: cached ones, which ask a memcached that is stopped
(SIGSTOP) for a second in the middle, and others that need no cache. Latency counts from when a request was due.
`calm` is the same load while nothing is stopped.
"""
import signal
import time

from scenarios.cache_get import memcached, node
from suite.load import Generator, Plan, request

SECONDS, STALL = 5.0, 1.0
RATES = {"others": 500, "cached": 200}
PATHS = {"others": "/hello", "cached": "/cached/1"}

GOALS = [
    {"text": "Longest answer, in milliseconds, to others while memcached stands still for a second",
     "variant": "stalled", "metric": "others_max_ms", "most": 50},
]


def run(frame):
    cache = memcached(frame)
    server = node(frame, cache, "meta", 23430)
    generator = Generator(frame)

    messages = {kind: request("GET", path) for kind, path in PATHS.items()}

    def choose(chooser):
        kind, = chooser.choices(list(RATES), RATES.values())
        return kind, messages[kind]

    def plan():
        return Plan(RATES).poisson(sum(RATES.values()), SECONDS, choose, frame.options.seed)

    def measure(stops):
        running = generator.open(server.port, plan())
        if stops:
            time.sleep((SECONDS - STALL) / 2)
            cache.process.send_signal(signal.SIGSTOP)
            try:
                time.sleep(STALL)
            finally:
                cache.process.send_signal(signal.SIGCONT)
        found = running.wait()
        others = found.kinds["others"]
        if others.errors:
            found.refuse_errors(server.name)
        return {
            "others_p99_ms": others.latency.milliseconds(0.99),
            "others_max_ms": others.latency.most / 1e6,
            "cached_max_ms": found.kinds["cached"].latency.most / 1e6,
            "cached_errors": found.kinds["cached"].errors,
        }

    frame.rounds(
        "stall", {"calm": lambda: measure(False), "stalled": lambda: measure(True)}, references=["calm"])
