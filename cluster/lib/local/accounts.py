"""The first administrator: an ordinary sign-up through the balancer, raised on its own shard."""
import json
import urllib.error
import urllib.request

from . import shards
from .console import Failure, step
from .folders import secret

ADMINISTRATOR = "owner"
ADMINISTRATOR_ROLE = 10


def create_administrator(layout):
    """Makes the account at the first start; an interrupted attempt is taken up again."""
    done = layout.home / "administrator"
    if done.exists():
        return
    identifier = _find(layout) or _sign_up(layout)
    node = _shard(layout, identifier)
    shards.psql(
        layout, node,
        f"UPDATE accounts.account SET role = {ADMINISTRATOR_ROLE}"
        f" WHERE bucket = {int(identifier) >> 6 & 1023} AND id = {int(identifier)};\n")
    done.write_text(f"{ADMINISTRATOR} {identifier}\n")
    step(f"first administrator made: {ADMINISTRATOR}")


def _find(layout):
    try:
        return _call(layout, f"/api/v1/accounts/lookup?acct={ADMINISTRATOR}")["id"]
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise Failure(f"the administrator cannot be looked up: {error}") from None


def _sign_up(layout):
    try:
        app = _call(layout, "/api/v1/apps", {
            "client_name": "cluster/up", "redirect_uris": "urn:ietf:wg:oauth:2.0:oob",
            "scopes": "read write"})
        token = _call(layout, "/oauth/token", {
            "grant_type": "client_credentials", "client_id": app["client_id"],
            "client_secret": app["client_secret"], "scope": "read write"})["access_token"]
        session = _call(layout, "/api/v1/accounts", {
            "username": ADMINISTRATOR, "email": f"{ADMINISTRATOR}@localhost.localdomain",
            "password": secret(layout, "admin-password"), "agreement": True, "locale": "en",
        }, token)["access_token"]
        return _call(layout, "/api/v1/accounts/verify_credentials", token=session)["id"]
    except urllib.error.HTTPError as error:
        raise Failure(f"the administrator cannot be made: {error.url} answers {error.code}"
                      f" {error.read(300).decode(errors='replace')}") from None


def _call(layout, path, body=None, token=None):
    headers = {"Content-Type": "application/json"}
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
