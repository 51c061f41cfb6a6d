"""What people use, feature by feature, so that it can be seen which of them a fault takes away."""
import json
import urllib.request

from frame import ROOT, Unavailable

from .load import request
from .mixing import Mix, fresh_key

RATE = 150
PHOTO = ROOT / "docs" / "sample.jpg"
BOUNDARY = "tiles-and-tiles"
# The features of each pool that is not core's. A new picture of a profile goes from core to media.
OF_POOL = {"media": {"picture", "upload", "avatar"}, "notifications": {"notifications"}, "search": {"search"},
           "streaming": {"streaming"}}
OF_CORE = {"home", "profile", "status", "compose", "account", "avatar"}
ALL = OF_CORE.union(*OF_POOL.values())


def mix(cluster, actions):
    """Each feature at a share of the rate."""
    picture = _upload(cluster, next(iter(actions.tokens.values())))
    photo = PHOTO.read_bytes()

    def search(random):
        word = f"person{random.randrange(len(actions.world.people))}"
        return request("GET", f"/api/v2/search?type=accounts&q={word}", actions.anybody(random))

    def upload(random):
        return _form("POST", "/api/v2/media", actions.anybody(random), "file", photo)

    def avatar(random):
        return _form("PATCH", "/api/v1/accounts/update_credentials", actions.anybody(random), "avatar", photo)

    def notifications(random):
        return request("GET", "/api/v1/notifications?limit=15", actions.anybody(random))

    def account(random):
        return request("GET", "/api/v1/accounts/verify_credentials", actions.anybody(random))

    return Mix(
        home=(60, actions.home), profile=(20, actions.profile_posts), status=(20, actions.status),
        compose=(6, actions.compose), account=(12, account), search=(12, search),
        notifications=(12, notifications), streaming=(3, lambda random: request("GET", "/api/v1/streaming/health")),
        picture=(17, lambda random: request("GET", picture)), upload=(1.5, upload), avatar=(1.5, avatar))


def _form(method, path, token, name, photo):
    body = (f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="a.jpg"\r\n'
            "Content-Type: image/jpeg\r\n\r\n").encode() + photo + f"\r\n--{BOUNDARY}--\r\n".encode()
    head = (f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
            f"Idempotency-Key: {fresh_key()}\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n")
    return head.encode() + body


def _upload(cluster, token):
    """The path of a picture that is there."""
    message = _form("POST", "/api/v2/media", token, "file", PHOTO.read_bytes())
    head, body = message.split(b"\r\n\r\n", 1)
    fields = dict(line.decode().split(": ", 1) for line in head.split(b"\r\n")[2:])
    ask = urllib.request.Request(f"http://127.0.0.1:{cluster.balancer}/api/v2/media", body, fields)
    with urllib.request.urlopen(ask, timeout=30) as answer:
        url = json.load(answer)["preview_url"]
    if "/media/" not in url:
        raise Unavailable(f"a picture is at {url}")
    return "/media/" + url.split("/media/", 1)[1]
