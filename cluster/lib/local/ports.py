"""Who listens on a port: a port that is taken gets one line that names the process, where that is known."""
import glob
import os
import pathlib
import socket

from .console import REFUSED, Failure


def check(layout, ours):
    """Refuses to start if somebody else listens on a port of a process that does not run yet."""
    variables = {
        layout.settings.http_port: "HTTP_PORT", layout.settings.https_port: "HTTPS_PORT"}
    if len(dict(layout.ports)) < len(layout.ports):
        raise Failure("HTTP_PORT and HTTPS_PORT must differ from the cluster's other ports")
    for port, name in layout.ports:
        if name in ours or is_free(port):
            continue
        who = listener(port)
        variable = variables.get(port, "PORT_BASE")
        raise Failure(
            f"port {port} (for {name}) is taken{f' by {who}' if who else ''};"
            f" stop that or choose another {variable}")


def require_free(nodes):
    """Refuses a port of a process to come that somebody else listens on."""
    for node in nodes:
        if not is_free(node.port):
            who = listener(node.port)
            raise Failure(f"port {node.port} (for {node.name}) is taken{f' by {who}' if who else ''};"
                          " stop that first", REFUSED)


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            raise Failure(f"port {port} needs root; choose one above 1023") from None
        except OSError:
            return False
    return True


def listener(port):
    """`name (pid N)` of the process that listens, as far as this user may see it."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = pathlib.Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            parts = line.split()
            if parts[3] == "0A" and int(parts[1].rsplit(":", 1)[1], 16) == port:
                inodes.add(f"socket:[{parts[9]}]")
    for link in glob.iglob("/proc/[0-9]*/fd/*"):
        try:
            if os.readlink(link) in inodes:
                pid = link.split("/")[2]
                name = pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
                return f"{name} (pid {pid})"
        except OSError:
            continue
    return ""


def is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
