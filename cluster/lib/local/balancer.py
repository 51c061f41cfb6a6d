"""HAProxy: its configuration, reloads that lose no request, and taking a node out of rotation."""
import json
import os
import signal
import socket
import subprocess

from . import routes
from .console import Failure
from .processes import wait_for
from .templates import render, write_if_changed

# Above the largest upload that a route takes.
BODY_BYTES = 48 << 20
# How long new workers may take to come after a reload.
RELOAD_SECONDS = 10
MAPS = ("exact", "patterns", "prefixes")


def write(layout):
    """True if the configuration changed. Asks the installed app node which paths its services declare."""
    services = {one["service"]: one for one in routes.declared(layout)}
    found = dict(zip(MAPS, routes.maps(services.values(), layout.pools)))
    changed = [write_if_changed(layout.config / f"haproxy-{name}.map",
                                routes.lines(entries, slash=name == "exact"))
               for name, entries in found.items()]
    file = layout.config / "haproxy.cfg"
    text = render(
        "haproxy.cfg", socket=layout.balancer_socket, http_port=layout.settings.http_port,
        https_port=layout.settings.https_port, peers_port=layout.peers_port,
        certificate=layout.tls / "server.pem", metrics_port=layout.balancer.metrics_port,
        body_bytes=BODY_BYTES, **{name: layout.config / f"haproxy-{name}.map" for name in MAPS})
    text += "".join(_pool(layout, services[service]) for service in layout.pools)
    if not file.exists() or file.read_text() != text:
        _check(layout.config / "haproxy.cfg.tried", text)
    return write_if_changed(file, text) or any(changed)


def _pool(layout, service):
    """The backend of one service; of another one that is gone nobody else hears."""
    name = service["service"]
    servers = "\n".join(
        f"    server {node.name} 127.0.0.1:{node.port}" for node in layout.pool(name))
    said = "No node can answer at present" if name == "core" else \
        f"{service['title']} is unavailable for a moment"
    document = {"type": "about:blank", "title": "Service Unavailable", "status": 503,
                "code": "unavailable", "service": name, "error": said}
    return render("haproxy-pool.cfg", service=name, servers=servers,
                  gone=json.dumps(document, separators=(",", ":")),
                  timeout="1h" if service["streams"] else "35s")


def _check(file, text):
    """HAProxy itself says whether a configuration is right, before anything uses it."""
    file.write_text(text)
    check = subprocess.run(
        ["/usr/sbin/haproxy", "-c", "-f", str(file)], capture_output=True, text=True, check=False)
    if check.returncode:
        lines = [line for line in check.stderr.splitlines() if "ALERT" in line]
        raise Failure(f"HAProxy refuses {file}: {lines[0] if lines else check.stderr[-200:]}")
    file.unlink()


def reload(supervisor):
    """New workers take over the listening sockets; the old ones finish what they have."""
    pid = supervisor.pid("haproxy")
    if pid:
        os.kill(pid, signal.SIGUSR2)


def reload_and_wait(layout, supervisor):
    """Returns when new workers answer, which know the servers of the configuration and no others."""
    before = _worker(layout)
    reload(supervisor)
    wait_for(lambda: _worker(layout) not in (None, before), RELOAD_SECONDS, "the balancer's new workers",
             layout.log("haproxy"))


def _worker(layout):
    """The pid of the workers that answer, or None."""
    try:
        lines = command(layout, "show info").splitlines()
    except OSError:
        return None
    return next((line.split(": ")[1] for line in lines if line.startswith("Pid: ")), None)


def command(layout, text):
    """One command of the runtime API."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        connection.connect(str(layout.balancer_socket))
        connection.sendall(text.encode() + b"\n")
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer.decode()


def set_state(layout, node, state):
    """`drain`: no new requests; `ready`: back in rotation. False without a balancer that knows the node."""
    try:
        return not command(layout, f"set server {node.service}/{node.name} state {state}").strip()
    except OSError:
        return False


def servers(layout):
    """Name -> (state, current sessions) as the balancer sees the app nodes."""
    try:
        lines = command(layout, "show stat").splitlines()
    except OSError:
        return {}
    names = lines[0].lstrip("# ").split(",")
    rows = [dict(zip(names, line.split(","))) for line in lines[1:] if line]
    return {row["svname"]: (row["status"], int(row["scur"] or 0)) for row in rows
            if row["pxname"] in layout.pools and row["svname"] not in ("BACKEND", "FRONTEND")}


def wait_until_in_rotation(layout, node, seconds):
    wait_for(lambda: servers(layout).get(node.name, ("",))[0].startswith("UP"), seconds,
             f"{node.name} in the balancer's rotation", layout.log(node.name))


def wait_until_idle(layout, node, seconds):
    """Until its requests have ended, or until `seconds` are over: the node itself ends what then remains."""
    try:
        wait_for(lambda: servers(layout).get(node.name, ("", 0))[1] == 0, seconds,
                 f"the end of the requests on {node.name}", layout.log("haproxy"))
    except Failure:
        return
