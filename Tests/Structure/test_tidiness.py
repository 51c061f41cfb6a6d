"""House style that a program can check."""
import pathlib
import re
import subprocess

import house

# The words are built from parts, so that this file may be read by its own tests.
EMPTY_WORDS = r"\b\w*(?:Mana" r"ger|Hel" r"per|Im" r"pl|Uti" r"ls)\b"
UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b")
# Where a command prints what it was asked for.
MAY_PRINT = ("Sources/Roles/shardctl/", "bench/", "Tests/")
LONGEST_FILE = 700
CHECKED = (".swift", ".py", ".md", ".sql", ".yaml", ".sh", ".c", ".h", ".cpp", ".cfg", ".conf")


def tracked():
    answer = subprocess.run(
        ["git", "ls-files", "-z"], cwd=house.ROOT, capture_output=True, text=True, check=False)
    names = [name for name in answer.stdout.split("\0") if name]
    if not names:
        names = [str(path.relative_to(house.ROOT)) for path in house.ROOT.rglob("*")
                 if path.is_file() and not {".git", ".build", ".tessera"} & set(path.parts)]
    return [name for name in names if (house.ROOT / name).is_file()]


def texts():
    for name in tracked():
        if name.endswith(CHECKED) or name.startswith(("cluster/", "bench/", ".ci/")):
            try:
                yield name, (house.ROOT / name).read_text()
            except UnicodeDecodeError:
                continue


def test_no_type_has_an_empty_name():
    declaration = rf"\b(?:class|struct|enum|protocol|actor|typealias)\s+{EMPTY_WORDS}"

    assert not house.places(declaration, house.sources())


def test_no_task_escapes_its_loop():
    assert not house.places(r"\bTask(?:\.detached)?\s*(?:\([^)]*\)\s*)?\{", house.sources())


def test_only_commands_print():
    files = {path: text for path, text in house.sources().items()
             if not path.startswith(MAY_PRINT)}

    assert not house.places(r"(?<![\w.])print\(", files)


def test_every_unchecked_sendable_says_why():
    wrong = []
    for path, text in house.sources().items():
        lines = text.splitlines()
        for number, line in enumerate(lines):
            if "@unchecked Sendable" in line and not line.lstrip().startswith(("//", "*")):
                above = lines[max(0, number - 12):number + 1]
                if not any("//" in other for other in above):
                    wrong.append(f"{path}:{number + 1}")

    assert not wrong


def test_every_error_that_is_dropped_says_why():
    wrong = []
    for path, text in house.sources().items():
        lines = text.splitlines()
        for number, line in enumerate(lines):
            if re.search(r"\btry[?!]", line.split("//")[0]):
                near = lines[max(0, number - 5):number + 3]
                if not any("//" in other for other in near):
                    wrong.append(f"{path}:{number + 1}")

    assert not wrong


def test_nothing_is_marked_as_unfinished():
    wrong = [name for name, text in texts() if UNFINISHED.search(text)]

    assert not wrong


def test_files_stay_readable():
    wrong = [f"{path}: {text.count(chr(10))} lines" for path, text in house.sources().items()
             if text.count("\n") > LONGEST_FILE]

    assert not wrong


def test_links_in_documents_lead_somewhere():
    wrong = []
    for name, text in texts():
        if not name.endswith(".md"):
            continue
        folder = (house.ROOT / name).parent
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if "://" not in link and not link.startswith("mailto:"):
                if not (folder / link).exists():
                    wrong.append(f"{name}: {link}")

    assert not wrong


def test_commands_named_in_documents_exist():
    wrong = []
    for name, text in texts():
        if name.endswith(".md"):
            for path in re.findall(r"(?:^|[\s`(])((?:cluster|bench|\.ci)/[a-z][\w./-]*)", text):
                path = path.rstrip(".")
                if not (house.ROOT / path).exists():
                    wrong.append(f"{name}: {path}")

    assert not wrong


def test_migrations_are_numbered_without_gaps():
    wrong = []
    for folder in sorted({path.parent for path in house.ROOT.glob("Sources/*/*/Migrations/*.sql")}):
        numbers = sorted(path.name for path in folder.glob("*.sql"))
        for index, name in enumerate(numbers, 1):
            if not re.fullmatch(rf"m{index:04d}_[a-z0-9_]+\.sql", name):
                wrong.append(str(pathlib.Path(folder, name).relative_to(house.ROOT)))

    assert not wrong


def test_migrations_keep_to_their_own_schema():
    folders = {path.parent for path in house.ROOT.glob("Sources/Services/*/Migrations/*.sql")}
    schemas = {folder.parent.name.lower() for folder in folders}
    wrong = []
    for folder in sorted(folders):
        others = schemas - {folder.parent.name.lower()}
        for file in sorted(folder.glob("*.sql")):
            text = re.sub(r"--[^\n]*", "", file.read_text())
            for schema in sorted(others):
                if re.search(rf"\b{schema}\.[a-z_]+", text):
                    wrong.append(f"{file.relative_to(house.ROOT)} names {schema}")

    assert not wrong
