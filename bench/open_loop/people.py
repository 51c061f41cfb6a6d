"""The people of a load: signed up through the public API, following each other in a ring."""
import asyncio
import re
import secrets
import urllib.parse

from .client import Failed

OUT_OF_BAND = "urn:ietf:wg:oauth:2.0:oob"
SCOPES = "read write follow"
# Sign-ups at a time: each hashes a password, which is dear on purpose.
SIGN_UPS = 4
PATIENCE_SECONDS = 120


class Person:
    """An account, what it was told is stored, and what it may not find otherwise when it reads."""

    def __init__(self, client, number, token, account):
        self.client, self.number, self.token, self.id = client, number, token, account
        self.bucket = int(account) >> 6 & 1023
        self.following = []
        # Acknowledged posts, text -> id; and those whose answer did not come.
        self.posts = {}
        self.unknown = set()
        # Ids in the order in which they were acknowledged.
        self.order = []
        # One post that is edited over and over: its id and the newest acknowledged version.
        self.register = None
        self.version = 0
        self.tried_version = 0
        self.edits = False
        # Posts of others that this person likes, acknowledged; and likes whose answer did not come.
        self.likes = set()
        self.unknown_likes = set()

    async def call(self, method, path, key=None, **fields):
        answer, _ = await self.client.call(method, path, self.token, key, fields)
        return answer

    async def publish(self, text):
        return (await self.call(
            "POST", "/api/v1/statuses", key=secrets.token_hex(12), status=text))["id"]

    async def pages(self, path):
        """Every item of a list, by its Link headers."""
        items = []
        while path:
            page, link = await self.client.call("GET", path, self.token)
            items += page
            found = re.search(r'<([^>]*)>; rel="next"', link or "")
            parts = urllib.parse.urlsplit(found.group(1)) if found and page else None
            path = f"{parts.path}?{parts.query}" if parts else None
        return items


async def sign_up(client, count, follows):
    """`count` people, each following the `follows` next ones; repeats what fails until it works."""
    application = await _stubbornly(lambda key: client.call(
        "POST", "/api/v1/apps", None, key,
        {"client_name": "open loop", "scopes": SCOPES, "redirect_uris": OUT_OF_BAND}))
    token = (await _stubbornly(lambda key: client.call(
        "POST", "/oauth/token", None, key,
        {"grant_type": "client_credentials", "scope": SCOPES, "client_id": application["client_id"],
         "client_secret": application["client_secret"]})))["access_token"]
    room = asyncio.Semaphore(SIGN_UPS)

    async def one(number):
        async with room:
            name = "load_" + secrets.token_hex(6)
            own = (await _stubbornly(lambda key: client.call(
                "POST", "/api/v1/accounts", token, key,
                {"username": name, "email": f"{name}@load.example", "agreement": "true",
                 "password": "a long password " + name, "locale": "en"})))["access_token"]
            account = await _stubbornly(
                lambda key: client.call("GET", "/api/v1/accounts/verify_credentials", own))
            return Person(client, number, own, account["id"])

    people = await asyncio.gather(*(one(number) for number in range(count)))

    async def settle(person):
        async with room:
            await _stubbornly(lambda key: client.call("GET", "/api/v1/timelines/home", person.token))
            for step in range(1, min(follows, count - 1) + 1):
                other = people[(person.number + step) % count]
                await _stubbornly(lambda key, o=other: client.call(
                    "POST", f"/api/v1/accounts/{o.id}/follow", person.token, key))
                person.following.append(other)
            text = f"register of {person.number} version 0"
            answer = await _stubbornly(lambda key: client.call(
                "POST", "/api/v1/statuses", person.token, key, {"status": text}))
            person.register = answer["id"]

    await asyncio.gather(*(settle(person) for person in people))
    return people


async def _stubbornly(act):
    """Before the load begins; the same key each time."""
    key, loop = secrets.token_hex(12), asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_SECONDS
    while True:
        try:
            return (await act(key))[0]
        except Failed:
            if loop.time() > deadline:
                raise
            await asyncio.sleep(0.2)
