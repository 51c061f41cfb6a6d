"""Man pages of shardctl, one for it and one for each command, made from what the program says of itself."""
import json
import subprocess

from .templates import write_if_changed

# Words of everyday English are left to the reader's eye; only these characters mean something to troff.
ESCAPES = str.maketrans({"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga"})


def write(layout):
    """Writes the pages below man/man1 in the state folder; `man -M` shows them."""
    run = subprocess.run([str(layout.binaries / "shardctl"), "--experimental-dump-help"],
                         capture_output=True, text=True, check=True)
    folder = layout.home / "man" / "man1"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = []
    for path, command in _commands(json.loads(run.stdout)["command"], ()):
        name = "-".join(path)
        names.append(name)
        write_if_changed(folder / f"{name}.1", _page(path, command))
    for file in folder.iterdir():
        if file.stem not in names:
            file.unlink()


def _commands(command, above):
    """Each command with the words that lead to it."""
    path = (*above, command["commandName"])
    yield path, command
    for inner in command.get("subcommands", ()):
        if inner["commandName"] != "help":
            yield from _commands(inner, path)


def _page(path, command):
    arguments = [one for one in command.get("arguments", ()) if one.get("shouldDisplay", True)]
    inner = [one for one in command.get("subcommands", ()) if one["commandName"] != "help"]
    lines = [f'.TH "{"-".join(path).upper()}" 1 "" "Tessera" "Tessera"',
             ".SH NAME", f"{_text('-'.join(path))} \\- {_text(command.get('abstract', ''))}",
             ".SH SYNOPSIS", f".B {_text(' '.join(path))}"]
    lines += [_usage(one) for one in arguments]
    if inner:
        lines.append(r"\fIcommand\fR \&...")
    if command.get("discussion"):
        lines += [".SH DESCRIPTION", ".nf", _text(command["discussion"]), ".fi"]
    if inner:
        lines.append(".SH COMMANDS")
        for one in inner:
            lines += [".TP", f".B {_text(one['commandName'])}", _text(one.get("abstract", ""))]
    if arguments:
        lines.append(".SH OPTIONS")
    for one in arguments:
        default = f" (default: {one['defaultValue']})" if one.get("defaultValue") else ""
        lines += [".TP", _name(one), _text(one.get("abstract", "") + default)]
    if inner:
        names = [f"{'-'.join((*path, one['commandName']))}(1)" for one in inner]
        lines += [".SH SEE ALSO", _text(", ".join(names))]
    return "\n".join(lines) + "\n"


def _usage(argument):
    name = _name(argument)
    more = r" \&..." if argument.get("isRepeating") else ""
    return f"[{name}{more}]" if argument.get("isOptional") else name + more


def _name(argument):
    value = rf"\fI{_text(argument.get('valueName', ''))}\fR"
    if argument["kind"] == "positional":
        return value
    preferred = argument["preferredName"]
    dashes = "--" if preferred["kind"] == "long" else "-"
    name = rf"\fB{_text(dashes + preferred['name'])}\fR"
    return name if argument["kind"] == "flag" else f"{name} {value}"


def _text(text):
    """A line that begins with a dot would be a command of troff's."""
    lines = text.translate(ESCAPES).splitlines()
    return "\n".join(rf"\&{line}" if line.startswith(".") else line for line in lines)
