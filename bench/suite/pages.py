"""Runs scenarios one after the other and writes what they gave: results.json, results.md and the plots."""
import importlib
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import time

from frame import BENCH, BUILD, ROOT

from . import plots

PAGES = ROOT / "docs" / "benchmarks"
QUICK_PAGES = BUILD / "bench-results"
# First what stands beside the physical limit, then beside others, then growth, then trouble.
ORDER = ["hello", "cache-get", "home", "select20", "home-reads", "home-peer", "growth", "social", "links", "tao",
         "celebrity", "likes", "post-to-feed", "fanout", "fanout-large", "fanout-cost", "post", "cold-cache",
         "pool-node-killed", "pool-grown", "shard-killed", "shard-moved", "move"]
# A scenario that takes longer than this is ended, so that the others have their turn.
LIMIT_SECONDS = 3600
TOOLS = {
    "PostgreSQL": ["/usr/lib/postgresql/15/bin/postgres", "--version"], "memcached": ["memcached", "--version"],
    "nginx": ["nginx", "-v"], "node": ["node", "--version"], "Swift": ["swift", "--version"],
    "C compiler": ["cc", "--version"]}
HEAD = """# Results

Written by `bench/run all`; edit nothing here. What the figures mean, and what to mind, is in
[benchmarks](../benchmarks.md). The median of the rounds stands first, in brackets least and most; a ratio is the median over
rounds of what stands beside each other in the same round.
"""


def module(name):
    return importlib.import_module("scenarios." + name.replace("-", "_"))


def run_all(names, known, options):
    """Each scenario as a command of its own, so that none leaves anything to the next."""
    folder = QUICK_PAGES if options.quick else PAGES
    folder.mkdir(parents=True, exist_ok=True)
    chosen = names or [name for name in ORDER if name in known] + sorted(set(known) - set(ORDER))
    results = _kept(folder)
    if not options.render:
        for name in chosen:
            print(f"bench/run {name}", file=sys.stderr, flush=True)
            results[name] = _run(name, options)
            _keep(folder, results)
    render(folder, results, known)
    failed = [name for name in chosen if results.get(name, {}).get("failure")]
    for name in failed:
        print(f"{name}: {results[name]['failure']}", file=sys.stderr)
    print(folder / "results.md")
    return 1 if failed else 0


def _kept(folder):
    file = folder / "results.json"
    return json.loads(file.read_text()) if file.exists() else {}


def _keep(folder, results):
    (folder / "results.json").write_text(json.dumps(results, indent=0) + "\n")


def _run(name, options):
    command = [str(BENCH / "run"), name, "--json"]
    for flag in ("rounds", "seconds", "nice", "connections", "port_base", "seed"):
        if getattr(options, flag) is not None:
            command += ["--" + flag.replace("_", "-"), str(getattr(options, flag))]
    command += ["--quick"] if options.quick else []
    began = time.time()
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, error = run.communicate(timeout=LIMIT_SECONDS)
        failure = (error.strip().splitlines() or [f"ended with {run.returncode}"])[-1] if run.returncode else None
    except subprocess.TimeoutExpired:
        # It takes its servers and clusters away when it is told to end.
        run.terminate()
        out, _ = run.communicate()
        failure = f"not finished after {LIMIT_SECONDS} s"
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return {
        "rows": [line for line in lines if "metric" in line],
        "notes": [line for line in lines if "note" in line],
        "failure": _harmless(failure) if failure else None,
        "commit": _commit(), "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime(began)),
        "seconds": round(time.time() - began), "quick": options.quick, "machine": machine(),
        "load_before": os.getloadavg()[0]}


def _harmless(text, length=400):
    """No path of this machine stands on a page."""
    return re.sub(r"(?<![\w:])/(?:\w|[-.])+(?:/(?:\w|[-.])+)+", "…", text)[:length]


def _commit():
    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "Sources", "bench", "cluster")
    return git("rev-parse", "--short=10", "HEAD") + (" with changes" if changed else "")


def machine():
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    found = {"cores": os.cpu_count(), "memory": f"{memory:.0f} GiB",
             "kernel": re.match(r"[\d.]+", platform.release()).group()}
    for name, command in TOOLS.items():
        try:
            run = subprocess.run(command, capture_output=True, text=True)
        except OSError:
            continue
        version = re.search(r"\d+\.\d+(?:\.\d+)?", run.stdout + run.stderr)
        if version:
            found[name] = version.group()
    return found


# MARK: The page

def render(folder, results, known):
    for stale in folder.glob("*.svg"):
        stale.unlink()
    names = [name for name in ORDER + sorted(set(results) - set(ORDER)) if name in results and name in known]
    parts = [HEAD, *_overview(results, [name for name in ORDER if name in known])]
    for name in names:
        parts += _section(folder, name, results[name])
    missing = [f"- `{name}`: {results[name]['failure']}" for name in names if results[name]["failure"]]
    missing += [f"- `{name}`: has not been run." for name in known if name not in results]
    if missing:
        parts += ["## What was not measured\n", *missing, ""]
    (folder / "results.md").write_text("\n".join(parts).rstrip() + "\n")


def _overview(results, names):
    """The goals, each with what was measured."""
    lines = []
    for name in names:
        for goal in getattr(module(name), "GOALS", []):
            value = _measured(results[name]["rows"], goal) if name in results else None
            if value is None:
                lines.append(f"| {goal['text']} | {_bound(goal)} | not measured | |")
            else:
                met = value >= goal["least"] if "least" in goal else value <= goal["most"]
                lines.append(f"| {goal['text']} | {_bound(goal)} | {_short(value)} | {'yes' if met else '**no**'} |")
    if not lines:
        return []
    return ["## Goals\n", "| what | goal | measured | met |", "| --- | --- | --- | --- |", *lines, ""]


def _measured(rows, goal):
    """The figure that a goal is about; of several peers whose names begin alike, the one that is hardest to reach."""
    found = [row[goal.get("of", "ratio")] for row in rows
             if row["variant"] == goal["variant"] and row["metric"] == goal["metric"]
             and (row["peer"] or "").startswith(goal["peer"] or "")]
    found = [value for value in found if value is not None]
    return (min if "least" in goal else max)(found) if found else None


def _bound(goal):
    return f"at least {goal['least']}" if "least" in goal else f"at most {goal['most']}"


def _section(folder, name, result):
    about = (module(name).__doc__ or "").strip()
    parts = [f"## {name}\n", about + "\n", _circumstances(name, result) + "\n"]
    if result["failure"]:
        parts.append(f"**Not measured to its end:** {result['failure']}\n")
    specs = getattr(module(name), "PLOTS", [])
    for number, spec in enumerate(specs, 1):
        picture = plots.draw(result["rows"], spec)
        if picture:
            file = f"{name}-{number}.svg"
            (folder / file).write_text(picture)
            parts.append(f"![{spec['title']}]({file})\n")
    parts += _tables(result["rows"], getattr(module(name), "COLUMNS", None))
    for note in result["notes"]:
        parts.append(f"{note['note']}:\n\n```text\n{_harmless(note['text'].strip(), 4_000)}\n```\n")
    return parts


def _circumstances(name, result):
    facts = ", ".join(f"{key} {value}" for key, value in result["machine"].items())
    quick = ", a quick try with small sizes" if result["quick"] else ""
    return (f"`bench/run {name}` at commit {result['commit']}, {result['date']} UTC, {result['seconds']} s"
            f"{quick}; load average before it {result['load_before']:.1f}. Machine: {facts}.")


def _tables(rows, columns):
    """Variants down and metrics across; then what stands beside what."""
    table, metrics = {}, []
    for row in rows:
        if "window" in row["metric"] or columns and row["metric"] not in columns:
            continue
        table.setdefault(row["variant"], {})[row["metric"]] = row
        if row["metric"] not in metrics:
            metrics.append(row["metric"])
    parts = []
    if table:
        parts += ["| | " + " | ".join(metrics) + " |", "| --- |" + " --- |" * len(metrics)]
        for variant, found in table.items():
            cells = [_cell(found.get(metric)) for metric in metrics]
            parts.append(f"| {variant.replace('@', ' at ')} | " + " | ".join(cells) + " |")
        parts.append("")
    beside = [row for row in rows if row["ratio"] is not None and (not columns or row["metric"] in columns)]
    if beside:
        parts += ["| | beside | metric | ratio |", "| --- | --- | --- | --- |"]
        parts += [f"| {row['variant'].replace('@', ' at ')} | {row['peer'].replace('@', ' at ')} |"
                  f" {row['metric']} | {_short(row['ratio'])} |" for row in beside]
        parts.append("")
    return parts


def _cell(row):
    if row is None:
        return ""
    if row["rounds"] == 1 or row["min"] == row["max"]:
        return _short(row["median"])
    return f"{_short(row['median'])} [{_short(row['min'])}–{_short(row['max'])}]"


def _short(value):
    """Three digits that count, and thousands apart."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
