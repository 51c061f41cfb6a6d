"""What still works while a part of the cluster is stopped, hangs or is slow, and how long a home timeline takes then.

Every service has a pool of its own, core has two nodes. All features are used at a constant rate through the balancer, from
before a fault until after its end, and again for the next one. `hung` is SIGSTOP: connections stay open and nobody
answers. `slow` lets a process run for a tenth of the time. A row's own features may fail; of all others not one request
may, and the p99 of home timelines is compared with the seconds just before, in which nothing was the matter.
"""
import statistics

from frame import Unavailable
from suite import faults, features, worlds
from suite.cluster import POOLS, say
from suite.load import Generator

ROUNDS, SECONDS, QUICK_SECONDS = 3, 10, 4
SHARDS = 4
PLOTS = []
GOALS = [{"text": f"{fault}: requests to other features that failed", "variant": fault, "metric": "others_failed",
          "peer": None, "of": "max", "most": 0} for fault in ("media-stopped", "search-stopped", "media-hung")]


def run(frame):
    cluster, actions = worlds.small(
        frame, SHARDS, app_nodes=2, **{f"{name}_nodes": 1 for name in POOLS})
    cluster.port = cluster.balancer
    mix = features.mix(cluster, actions)
    generator, seeds = Generator(frame), iter(range(1, 1_000_000))
    generator.open(cluster.port, mix.plan(features.RATE, 5, next(seeds))).wait()
    taken = {}
    for number in range(frame.options.rounds):
        for fault in rows(cluster):
            say(f"faults: round {number + 1}, {fault.name}")
            calm = measure(generator, cluster, mix, frame.options.seconds, next(seeds))
            undo = fault.act(cluster)
            try:
                hurt = measure(generator, cluster, mix, frame.options.seconds, next(seeds))
            finally:
                undo()
            faults.wait_until_whole(cluster)
            taken.setdefault(fault, []).append((calm, hurt))
    for fault, rounds in taken.items():
        report(frame, fault, rounds)
    frame.note("faults", "What failed", table(taken))


def measure(generator, cluster, mix, seconds, seed):
    return generator.open(cluster.port, mix.plan(features.RATE, seconds, seed)).wait()


def rows(cluster):
    """The matrix: what is hurt, how, and the features that are its own; without what this cluster does not have."""
    running = set(cluster.processes())
    return [fault for fault in matrix(cluster) if running.issuperset(fault.processes)]


def matrix(cluster):
    for name in POOLS:
        own = features.OF_POOL.get(name, set())
        for how in ("stopped", "hung", "slow"):
            yield faults.Fault(f"{name}-{how}", [f"{name}1"], how, own)
    core = features.OF_CORE
    yield faults.Fault("core-stopped", ["app1", "app2"], "stopped", core)
    yield faults.Fault("core-hung", ["app1", "app2"], "hung", core)
    yield faults.Fault("core-one-node-killed", ["app1"], "killed", set())
    for how in ("stopped", "hung"):
        yield faults.Fault(f"nats-{how}", ["nats"], how, features.OF_POOL.get("streaming", set()))
        yield faults.Fault(f"memcached-feed-{how}", ["memcached-feed1", "memcached-feed2"], how, set())
        yield faults.Fault(f"memcached-all-{how}", cluster.names("memcached-"), how, set())
        yield faults.Fault(f"etcd-{how}", ["etcd"], how, set())
        yield faults.Fault(f"coordinators-{how}", cluster.names("coordinator"), how, set())
    yield faults.Fault("workers-stopped", cluster.names("worker"), "stopped", set())
    yield faults.Fault("one-shard-stopped", ["shard1"], "stopped", set(features.ALL))


def report(frame, fault, rounds):
    if not all(hurt.kinds["home"].ok and calm.kinds["home"].ok for calm, hurt in rounds) and "home" not in fault.own:
        raise Unavailable(f"{fault.name}: no home timeline was answered")
    frame.emit("faults", fault.name, None, "others_failed",
               [sum(one.errors for kind, one in hurt.kinds.items() if kind not in fault.own) for _, hurt in rounds])
    frame.emit("faults", fault.name, None, "own_failed",
               [sum(one.errors for kind, one in hurt.kinds.items() if kind in fault.own) for _, hurt in rounds])
    if "home" not in fault.own or fault.name.startswith("one-shard"):
        frame.emit("faults", fault.name, None, "home_p99_ms", [p99(hurt) for _, hurt in rounds])
        frame.emit("faults", fault.name, None, "home_p99_ratio", [p99(hurt) / p99(calm) for calm, hurt in rounds])


def p99(measured):
    return measured.kinds["home"].latency.milliseconds(0.99)


def table(taken):
    lines = ["| fault | failed, of 100 requests | everything else | home p99 |", "|---|---|---|---|"]
    for fault, rounds in taken.items():
        failed = {}
        for _, hurt in rounds:
            for kind, one in hurt.kinds.items():
                bad, all_ = failed.get(kind, (0, 0))
                failed[kind] = bad + one.errors, all_ + one.errors + one.ok
        bad = ", ".join(f"{kind} {100 * errors / asked:.0f}" for kind, (errors, asked) in failed.items() if errors)
        others = sum(errors for kind, (errors, _) in failed.items() if kind not in fault.own)
        ratio = "" if not all(hurt.kinds["home"].ok for _, hurt in rounds) else \
            f"{statistics.median(p99(hurt) / p99(calm) for calm, hurt in rounds):.2f} x"
        lines.append(f"| {fault.name} | {bad or 'nothing'} | {others} failed | {ratio} |")
    return "\n".join(lines)
