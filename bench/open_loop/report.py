"""Latencies of a load by phase, in the shape of every scenario's rows."""
from .load import WRITES


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def milliseconds(done, kinds=None, phase=None, where=lambda bucket, due: True, watched=None):
    """Latencies from when each was due."""
    return [(end - due) * 1000 for kind, bucket, at, seen, due, end, good in done
            if good and (kinds is None or kind in kinds) and (phase is None or at == phase)
            and (watched is None or seen == watched) and where(bucket, due)]


def rows(scenario, load, phases, seconds):
    """One row a phase, kind of request and metric."""
    for phase in phases:
        for variant, kinds in (("reads", None), ("writes", WRITES)):
            chosen = kinds or {kind for kind, *_ in load.done if kind not in WRITES}
            values = milliseconds(load.done, chosen, phase)
            if not values:
                continue
            yield row(scenario, f"{variant}-{phase}", "rps", len(values) / seconds[phase])
            for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99), ("max_ms", 1.0)):
                yield row(scenario, f"{variant}-{phase}", name, percentile(values, share))


def row(scenario, variant, metric, value, peer=None, ratio=None, rounds=1, least=None, most=None):
    value = round(value, 3)
    return {"scenario": scenario, "variant": variant, "peer": peer, "metric": metric,
            "median": value, "min": round(value if least is None else least, 3),
            "max": round(value if most is None else most, 3), "rounds": rounds,
            "ratio": None if ratio is None else round(ratio, 3)}
