"""The house as it stands: the manifest's targets and the sources' imports."""
import functools
import json
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAYERS = ["System", "Runtime", "Storage", "Services", "Roles"]
# Control stands beside Services: roles use both, neither uses the other.
RANK = {layer: rank for rank, layer in enumerate(LAYERS)} | {"Control": LAYERS.index("Services")}

IMPORT = re.compile(
    r"^\s*(?:@\w+\s+)*(?:(?:public|package|internal|private|fileprivate)\s+)?import\s+"
    r"(?:(?:struct|class|enum|protocol|func|var|let|typealias)\s+)?(\w+)", re.MULTILINE)


@functools.cache
def _targets():
    answer = subprocess.run(
        ["swift", "package", "dump-package"], cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(answer.stdout)["targets"]


def dependency_lists():
    """Target name -> names of the targets and products it uses, as they are written."""
    return {
        target["name"]: [value[0] for uses in target["dependencies"] for value in uses.values()]
        for target in _targets()}


@functools.cache
def manifest():
    """Target name -> (path, names of the targets and products it uses)."""
    lists = dependency_lists()
    return {
        target["name"]: (target.get("path") or "", set(lists[target["name"]]))
        for target in _targets()}


def layer(name):
    """The layer of a target of ours, or None for tests, benchmarks and other packages."""
    path = manifest().get(name, ("", set()))[0].split("/")
    return path[1] if len(path) == 3 and path[0] == "Sources" else None


def modules(*layers):
    return sorted(name for name in manifest() if layer(name) in (layers or RANK))


@functools.cache
def sources(folder="Sources", suffix=".swift"):
    """Path relative to the root -> text."""
    return {
        str(file.relative_to(ROOT)): file.read_text()
        for file in sorted((ROOT / folder).rglob(f"*{suffix}")) if ".build" not in file.parts}


def imports(target):
    """What the sources of a target import."""
    path = manifest()[target][0]
    found = set()
    for file, text in sources(path).items():
        found.update(IMPORT.findall(text))
    return found


def code(text):
    """Swift without its comments and strings, line for line, so that words in them do not count."""
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), text, flags=re.DOTALL)
    text = re.sub(r'"""(.*?)"""', lambda m: '""' + "\n" * m.group().count("\n"), text,
                  flags=re.DOTALL)
    text = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)
    return re.sub(r"//[^\n]*", "", text)


def places(pattern, files):
    """`path:line` of each match in code."""
    found = []
    for path, text in files.items():
        for number, line in enumerate(code(text).splitlines(), 1):
            if re.search(pattern, line):
                found.append(f"{path}:{number}: {line.strip()}")
    return found
