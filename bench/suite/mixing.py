"""A mix of requests against a cluster: how much it takes, and what it costs and how long it takes below that."""
import random
import secrets
import time

from frame import Unavailable

from .accounting import OF_A_REQUEST
from .cluster import say
from .load import LATE_P99_MS, Generator, Plan

# Of what the cluster takes at most; the last is where latencies begin to tell of queues.
SHARES = (0.1, 0.25, 0.5, 0.7, 0.85)
CAPACITY_CONNECTIONS = 64
# Of the many figures of a mix, those that stand in its table.
COLUMNS = ["rps", "p50_ms", "p99_ms", "p999_ms", "cpu_us", "node_cpu_us", "postgres_cpu_us", "memcached_cpu_us",
           "errors", "late_p99_ms"]
# A load is never planned above this: plans are made in memory.
MOST_RATE = 20_000


def fresh_key():
    return secrets.token_hex(12)


class Mix:
    """Kinds of requests with their weights; each kind makes its next message from a random source."""

    def __init__(self, **makers):
        self.makers = {kind: make for kind, (_, make) in makers.items()}
        self.weights = [weight for weight, _ in makers.values()]
        self.kinds = list(makers)

    def choose(self, chooser):
        kind = chooser.choices(self.kinds, self.weights)[0]
        return kind, self.makers[kind](chooser)

    def plan(self, rate, seconds, seed):
        return Plan(self.kinds).poisson(rate, seconds, self.choose, seed)

    def sample(self, count, seed):
        """A plan without times, for a closed loop."""
        plan, chooser = Plan(self.kinds), random.Random(seed)
        for _ in range(count):
            plan.due(0, plan.add(*self.choose(chooser)))
        return plan


def costs(measured, used):
    """CPU microseconds of one answered request, by who spent them."""
    requests = max(1, measured.all.ok)
    figures = {f"{group}_cpu_us": used.get(group, 0) / requests * 1e6 for group in OF_A_REQUEST}
    return {"cpu_us": sum(figures.values()), **figures}


def latencies(outcome, prefix=""):
    return {f"{prefix}p50_ms": outcome.latency.milliseconds(0.5),
            f"{prefix}p99_ms": outcome.latency.milliseconds(0.99),
            f"{prefix}p999_ms": outcome.latency.milliseconds(0.999)}


def capacity(generator, port, mix, seconds, seed):
    """Requests a second of a closed loop: more cannot be asked for at a constant rate."""
    plan = mix.sample(int(MOST_RATE * (seconds + 1)), seed)
    measured = generator.closed(port, plan, seconds, warm=1, connections=CAPACITY_CONNECTIONS)
    return measured.all.ok / measured.seconds


def idle_cost(cluster, seconds):
    """CPU seconds that each group of processes uses in one second in which nobody asks for anything."""
    _, used = cluster.accounting().during(lambda: time.sleep(seconds))
    return {group: value / seconds for group, value in used.items()}


def measure_at(generator, cluster, mix, rate, seconds, seed, idle=None):
    """One open-loop run at a constant rate; figures of all requests and of each kind.

    With `idle`, what the cluster uses anyway is not charged to the requests.
    """
    accounting = cluster.accounting()
    warm = min(2, seconds / 4)
    plan = mix.plan(rate, seconds + warm, seed)
    measured, used = accounting.during(lambda: generator.open(cluster.port, plan, warm).wait())
    # The seconds of warming cost CPU too, and are not among the answers.
    share = measured.all.ok / max(1, plan.length - measured.all.errors)
    used = {group: max(0, value - (idle or {}).get(group, 0) * (seconds + warm)) * share
            for group, value in used.items()}
    figures = {"rps": measured.all.ok / seconds, "errors": measured.all.errors,
               **latencies(measured.all), **costs(measured, used), "late_p99_ms": measured.late_p99_ms}
    for kind, outcome in measured.kinds.items():
        figures |= latencies(outcome, f"{kind}_")
    if measured.late_p99_ms > LATE_P99_MS:
        say(f"the generator was late itself at {rate:.0f}/s: p99 {measured.late_p99_ms:.1f} ms")
    return figures


def run(frame, scenario, cluster, mix):
    """Measures a mix at shares of its capacity, in rounds."""
    generator, seconds = Generator(frame), frame.options.seconds
    most = capacity(generator, cluster.port, mix, min(seconds, 5), 0)
    if not most:
        raise Unavailable("no request of the mix was answered")
    frame.emit(scenario, "closed-loop", None, "rps", [most])
    rates = sorted({max(1, round(most * share, -1)) for share in SHARES})
    seeds = iter(range(1, 1_000_000))
    frame.rounds(
        scenario,
        {f"tessera@{rate:.0f}": lambda rate=rate: measure_at(
            generator, cluster, mix, rate, seconds, next(seeds)) for rate in rates},
        warm=False)
