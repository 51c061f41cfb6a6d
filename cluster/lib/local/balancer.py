"""HAProxy: its configuration, reloads that lose no request, and taking a node out of rotation."""
import signal
import os
import socket
import subprocess

from .console import Failure
from .processes import wait_for
from .templates import render, write_if_changed

# Above the largest upload that a route takes.
BODY_BYTES = 48 << 20


def write(layout):
    """True if the configuration changed."""
    servers = "\n".join(
        f"    server {node.name} 127.0.0.1:{node.port}" for node in layout.app_nodes)
    file = layout.config / "haproxy.cfg"
    text = render(
        "haproxy.cfg", socket=layout.balancer_socket, http_port=layout.settings.http_port,
        https_port=layout.settings.https_port, certificate=layout.tls / "server.pem",
        metrics_port=layout.balancer.metrics_port, body_bytes=BODY_BYTES, servers=servers)
    if not file.exists() or file.read_text() != text:
        _check(layout.config / "haproxy.cfg.tried", text)
    return write_if_changed(file, text)


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
    """`drain`: no new requests; `ready`: back in rotation. Without a balancer there is nothing to do."""
    try:
        command(layout, f"set server core/{node.name} state {state}")
    except OSError:
        return False
    return True


def servers(layout):
    """Name -> (state, current sessions) as the balancer sees the app nodes."""
    try:
        lines = command(layout, "show stat").splitlines()
    except OSError:
        return {}
    names = lines[0].lstrip("# ").split(",")
    rows = [dict(zip(names, line.split(","))) for line in lines[1:] if line]
    return {row["svname"]: (row["status"], int(row["scur"] or 0)) for row in rows
            if row["pxname"] == "core" and row["svname"] not in ("BACKEND", "FRONTEND")}


def wait_until_in_rotation(layout, node, seconds):
    wait_for(lambda: servers(layout).get(node.name, ("",))[0].startswith("UP"), seconds,
             f"{node.name} in the balancer's rotation", layout.log(node.name))


def wait_until_idle(layout, node, seconds):
    wait_for(lambda: servers(layout).get(node.name, ("", 0))[1] == 0, seconds,
             f"the end of the requests on {node.name}", layout.log("haproxy"))
