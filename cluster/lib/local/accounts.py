"""The first administrator: an ordinary sign-up through the balancer, raised on its own shard."""
import json
import urllib.error
import urllib.request

from . import shards
from .console import Failure, step
from .folders import secret, write_once

ADMINISTRATOR = "owner"
ADMINISTRATOR_ROLE = 10


def create_administrator(layout):
    """Makes the account at the first start; an interrupted attempt is taken up again."""
    done = layout.home / "administrator"
    if done.exists():
        return
    identifier = _sign_up(layout)
    node = _shard(layout, identifier)
    shards.psql(
        layout, node,
        f"UPDATE accounts.account SET role = {ADMINISTRATOR_ROLE}"
        f" WHERE bucket = {int(identifier) >> 6 & 1023} AND id = {int(identifier)};\n")
    done.write_text(f"{ADMINISTRATOR} {identifier}\n")
    step(f"first administrator made: {ADMINISTRATOR}")


def _sign_up(layout):
    """Always the same request, by the same application, under the same key: repeated, it gives the account
    that it made. One of that name that somebody else has made is never taken for ours."""
    try:
        app = _application(layout)
        token = _call(layout, "/oauth/token", {
            "grant_type": "client_credentials", "client_id": app["client_id"],
            "client_secret": app["client_secret"], "scope": "read write"})["access_token"]
        session = _call(layout, "/api/v1/accounts", {
            "username": ADMINISTRATOR, "email": f"{ADMINISTRATOR}@localhost.localdomain",
            "password": secret(layout, "admin-password"), "agreement": True, "locale": "en",
        }, token, key="first administrator")["access_token"]
        return _call(layout, "/api/v1/accounts/verify_credentials", token=session)["id"]
    except urllib.error.HTTPError as error:
        raise Failure(f"the administrator cannot be made: {error.url} answers {error.code}"
                      f" {error.read(300).decode(errors='replace')}") from None


def _application(layout):
    """The application that signs the administrator up, kept so that another attempt is the same one's."""
    file = layout.secrets / "admin-application"
    if not file.exists():
        made = _call(layout, "/api/v1/apps", {
            "client_name": "cluster/up", "redirect_uris": "urn:ietf:wg:oauth:2.0:oob",
            "scopes": "read write"})
        write_once(file, json.dumps(made) + "\n")
    return json.loads(file.read_text())


def _call(layout, path, body=None, token=None, key=None):
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Idempotency-Key"] = key
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(
        layout.url + path, json.dumps(body).encode() if body else None, headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def _shard(layout, identifier):
    """The shard that has the row: asked of each, since the map is not this program's to know."""
    for node in layout.shards:
        found = shards.psql(
            layout, node, f"SELECT count(*) FROM accounts.account WHERE id = {int(identifier)}")
        if found.strip() == "1":
            return node
    raise Failure(f"no shard has the account {identifier}")
