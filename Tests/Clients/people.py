"""The public API as the tests' people use it: sign up, log in, follow, post, read."""
import copy
import html.parser
import itertools
import pathlib
import secrets
import time
import urllib.parse

import requests

OUT_OF_BAND = "urn:ietf:wg:oauth:2.0:oob"
SCOPES = "read write follow"
ROOT_FOLDER = pathlib.Path(__file__).resolve().parents[2]
PHOTO = ROOT_FOLDER / "docs" / "sample.jpg"
# How long effects may take on a busy machine before a test calls them lost.
EFFECT_SECONDS = 30
_numbers = itertools.count(1)


def eventually(condition, what, seconds=EFFECT_SECONDS):
    """Waits for an effect and returns the first true value; a test never waits for time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


class Site:
    """One cluster, through its balancer."""

    def __init__(self, url, certificate=None):
        self.url = url
        self.session = requests.Session()
        self.certificate = certificate
        self._application = None

    def at(self, url):
        """The same cluster at another address, or on connections of its own."""
        other = Site(url, self.certificate)
        other._application = self._application
        return other

    def call(self, method, path, token=None, key=None, expect=(200,), **options):
        """One request; `expect` names the codes that are right, None takes all."""
        headers = dict(options.pop("headers", {}))
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if key:
            headers["Idempotency-Key"] = key
        options.setdefault("timeout", 40)
        answer = self.session.request(method, self.url + path, headers=headers, **options)
        if expect is not None:
            assert answer.status_code in expect, (
                f"{method} {path}: {answer.status_code} {answer.text[:400]}")
        return answer

    @property
    def application(self):
        if not self._application:
            self._application = self.register()
        return self._application

    def register(self, redirect=OUT_OF_BAND, scopes=SCOPES):
        return self.call("POST", "/api/v1/apps", json={
            "client_name": "tests", "redirect_uris": redirect, "scopes": scopes,
            "website": "https://example.org"}).json()

    def application_token(self):
        application = self.application
        return self.call("POST", "/oauth/token", data={
            "grant_type": "client_credentials", "client_id": application["client_id"],
            "client_secret": application["client_secret"], "scope": SCOPES}).json()["access_token"]

    def person(self, name=None):
        """Signs a new person up."""
        name = name or f"p{next(_numbers)}{secrets.token_hex(4)}"
        password = f"a long password of {name}"
        token = self.call(
            "POST", "/api/v1/accounts", token=self.application_token(), key=secrets.token_hex(8),
            json={"username": name, "email": f"{name}@example.org", "password": password,
                  "agreement": True, "locale": "en"}).json()["access_token"]
        return Person(self, name, password, token)

    def people(self, count):
        return [self.person() for _ in range(count)]


class Person:
    """Somebody with an account and a token."""

    def __init__(self, site, name, password, token):
        self.site = site
        self.name = name
        self.password = password
        self.token = token
        self.id = self.get("/api/v1/accounts/verify_credentials")["id"]

    def elsewhere(self):
        """The same person on connections of their own, for a thread of a test."""
        other = copy.copy(self)
        other.site = self.site.at(self.site.url)
        return other

    @property
    def bucket(self):
        return int(self.id) >> 6 & 1023

    def call(self, method, path, **options):
        return self.site.call(method, path, token=self.token, **options)

    def get(self, path, **parameters):
        return self.call("GET", path, params=parameters).json()

    def post(self, path, key=None, **body):
        return self.call("POST", path, key=key, json=body or None).json()

    def follow(self, other):
        return self.post(f"/api/v1/accounts/{other.id}/follow")

    def unfollow(self, other):
        return self.post(f"/api/v1/accounts/{other.id}/unfollow")

    def upload(self, photo=PHOTO, description="tiles"):
        with open(photo, "rb") as stream:
            answer = self.call(
                "POST", "/api/v2/media", expect=(200, 202), key=secrets.token_hex(8),
                files={"file": (pathlib.Path(photo).name, stream, "image/jpeg")},
                data={"description": description})
        media = answer.json()
        if answer.status_code == 202:
            media = eventually(
                lambda: self._finished(media["id"]), f"processing of media {media['id']}")
        return media

    def _finished(self, media_id):
        answer = self.call("GET", f"/api/v1/media/{media_id}", expect=(200, 206))
        return answer.json() if answer.status_code == 200 else None

    def publish(self, text, media=(), key=None, **more):
        body = {"status": text, "media_ids": [item["id"] for item in media], **more}
        return self.post("/api/v1/statuses", key=key or secrets.token_hex(8), **body)

    def home(self, **parameters):
        return self.get("/api/v1/timelines/home", **parameters)

    def home_ids(self, **parameters):
        return [status["id"] for status in self.home(**parameters)]

    def whole_home(self, limit=40):
        """Every page of the home timeline, followed by its Link headers."""
        ids, path = [], f"/api/v1/timelines/home?limit={limit}"
        while path:
            answer = self.call("GET", path)
            ids += [status["id"] for status in answer.json()]
            path = next_page(answer, self.site.url)
        return ids

    def sees(self, status):
        eventually(lambda: status["id"] in self.home_ids(limit=40),
                   f"{status['id']} in the home timeline of {self.name}")

    def sees_no_more(self, status):
        eventually(lambda: status["id"] not in self.home_ids(limit=40),
                   f"{status['id']} gone from the home timeline of {self.name}")


def next_page(answer, url, relation="next"):
    link = answer.links.get(relation, {}).get("url")
    if not link:
        return None
    parts = urllib.parse.urlsplit(link)
    assert link.startswith(url), f"the link leads elsewhere: {link}"
    return f"{parts.path}?{parts.query}"


class _Forms(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.forms = []
        self.inputs = {}

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "form":
            self.forms.append({"action": attributes.get("action", ""), "fields": {},
                               "buttons": []})
        elif tag == "input":
            target = self.forms[-1]["fields"] if self.forms else self.inputs
            target[attributes.get("name")] = attributes.get("value") or ""
            self.inputs[attributes.get("name")] = attributes.get("value") or ""
        elif tag == "button" and self.forms:
            self.forms[-1]["buttons"].append((attributes.get("name"), attributes.get("value")))


class Browser:
    """A person's browser on the pages of the log-in, without scripts."""

    def __init__(self, site):
        self.site = site
        self.session = requests.Session()

    def authorize(self, url, person):
        """Logs in and agrees; returns the code, whether it is shown or in the redirect."""
        answer = self.session.get(url, timeout=40, allow_redirects=False)
        assert answer.status_code == 200, f"{answer.status_code} {answer.text[:300]}"
        answer = self._submit(answer, "login", username=person.name, password=person.password)
        if answer.is_redirect and answer.headers["Location"].startswith(("/", self.site.url)):
            answer = self.session.get(
                urllib.parse.urljoin(answer.url, answer.headers["Location"]), timeout=40,
                allow_redirects=False)
        if answer.status_code == 200 and "allow" in answer.text:
            answer = self._submit(answer, "allow")
        return self._code(answer)

    def _submit(self, page, action, **typed):
        forms = _Forms()
        forms.feed(page.text)
        form = next(form for form in forms.forms
                    if any(value == action for _, value in form["buttons"]))
        name = next(name for name, value in form["buttons"] if value == action)
        return self.session.post(
            urllib.parse.urljoin(page.url, form["action"]), timeout=40, allow_redirects=False,
            data={**form["fields"], **typed, name: action})

    def _code(self, answer):
        if "Location" in answer.headers:
            query = urllib.parse.urlsplit(answer.headers["Location"]).query
            return urllib.parse.parse_qs(query)["code"][0]
        assert answer.status_code == 200, f"{answer.status_code} {answer.text[:300]}"
        forms = _Forms()
        forms.feed(answer.text)
        assert "code" in forms.inputs, f"no code on the page: {answer.text[:300]}"
        return forms.inputs["code"]
