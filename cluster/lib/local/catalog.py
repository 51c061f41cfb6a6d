"""etcd: its users, so that nobody reads or changes the map without a password."""
import base64
import json
import urllib.error
import urllib.request

from .console import Failure
from .folders import secret

# All that Tessera keeps in etcd begins with this.
PREFIX = "/tessera/"
USER = "tessera"


def ready(layout):
    try:
        with urllib.request.urlopen(f"{_url(layout)}/health", timeout=2) as answer:
            return json.load(answer).get("health") == "true"
    except (OSError, ValueError):
        return False


def create_users(layout):
    """Makes the users root and tessera and turns authentication on; false if it was on."""
    if _can_log_in(layout, "root", secret(layout, "etcd-root")):
        return False
    root, user = secret(layout, "etcd-root"), secret(layout, "etcd-tessera")
    end = PREFIX[:-1] + chr(ord(PREFIX[-1]) + 1)
    permission = {"permType": "READWRITE", "key": _encode(PREFIX), "range_end": _encode(end)}
    steps = [
        ("user/add", {"name": "root", "password": root}),
        ("role/add", {"name": "root"}),
        ("user/grant", {"user": "root", "role": "root"}),
        ("user/add", {"name": USER, "password": user}),
        ("role/add", {"name": USER}),
        ("role/grant", {"name": USER, "perm": permission}),
        ("user/grant", {"user": USER, "role": USER}),
        ("auth/enable", {}),
    ]
    for path, body in steps:
        _call(layout, f"auth/{path}" if not path.startswith("auth") else path, body)
    return True


def _can_log_in(layout, name, password):
    try:
        _call(layout, "auth/authenticate", {"name": name, "password": password})
        return True
    except Failure as failure:
        if "not enabled" in str(failure):
            return False
        raise Failure(
            f"etcd does not know this installation's password: {failure}") from None


def _call(layout, path, body):
    """A repeated step (an interrupted first start) answers "already exists", which is as good."""
    request = urllib.request.Request(
        f"{_url(layout)}/v3/{path}", json.dumps(body).encode(),
        {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        message = json.loads(error.read()).get("error", str(error))
        if "already exist" in message:
            return {}
        raise Failure(f"etcd refuses {path}: {message}") from None


def _encode(text):
    return base64.b64encode(text.encode()).decode()


def _url(layout):
    return f"http://127.0.0.1:{layout.etcd.port}"
