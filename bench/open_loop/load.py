"""What is sent and when: arrivals at a fixed rate, latencies counted from when each was due."""
import asyncio
import json
import random
import re
import secrets
import time

from .client import Failed

# Requests under way at which the machine is too slow for the rate: then the run ends as a failure.
MOST_UNDER_WAY = 10_000
# Own posts that one read of a profile must show, of those acknowledged before the read was sent.
NEWEST = 10
MIX = {"own": 30, "profile": 10, "home": 20, "publish": 18, "edit": 10, "like": 12}
WRITES = ("publish", "edit", "like")


class Overrun(Exception):
    """The load could not be sent at its rate."""


class Load:
    """Open-loop arrivals of `rate` requests a second by `people`, each judged as it is answered.

    `history` gets one line of JSON for every request: when it was due, sent and answered, what it was and what
    became of it.
    """

    def __init__(self, people, rate, seed, history=None):
        self.people, self.rate, self.history = people, rate, history
        self.random = random.Random(seed)
        self.kinds = [kind for kind, share in MIX.items() for _ in range(share)]
        self.phase = "before"
        self.done = []
        self.errors = []
        self.stale = []
        # People whose buckets are watched by writes of their own, at `focus_rate` each second.
        self.focus = None
        self.focus_rate = 0
        self._under_way = set()
        self._count = 0
        self._stopped = False

    # MARK: Arrivals

    async def run(self):
        """Until `stop`; then until the last answer."""
        await asyncio.gather(
            self._arrivals(lambda: self.rate, self._any),
            self._arrivals(lambda: self.focus_rate if self.focus else 0, self._focused))
        while self._under_way:
            await asyncio.wait(self._under_way)

    def stop(self):
        self._stopped = True

    async def _arrivals(self, rate, act):
        due = time.monotonic()
        while not self._stopped:
            if not rate():
                await asyncio.sleep(0.01)
                due = time.monotonic()
                continue
            # Arrivals of many people who know nothing of each other.
            due += self.random.expovariate(rate())
            wait = due - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            if len(self._under_way) >= MOST_UNDER_WAY:
                raise Overrun(f"{MOST_UNDER_WAY} requests are under way")
            task = asyncio.create_task(act(due))
            self._under_way.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task):
        self._under_way.discard(task)
        if not task.cancelled():
            task.result()

    async def _any(self, due):
        person = self.random.choice(self.people)
        kind = self.random.choice(self.kinds)
        if kind == "edit" and person.edits or kind in ("own", "profile") and not person.order:
            kind = "publish"
        await self._measure(kind, person, due)

    async def _focused(self, due):
        await self._measure("publish", self.random.choice(self.focus), due, watched=True)

    async def _measure(self, kind, person, due, watched=False):
        phase, sent = self.phase, time.monotonic()
        record = {"kind": kind, "bucket": person.bucket, "phase": phase, "watched": watched,
                  "due": round(due, 6), "sent": round(sent, 6)}
        try:
            record.update(await getattr(self, "_" + kind)(person) or {})
        except Failed as failure:
            record["error"] = str(failure)
            self.errors.append(record)
        end = time.monotonic()
        record["end"] = round(end, 6)
        self.done.append((kind, person.bucket, phase, watched, due, end, "error" not in record))
        if self.history:
            self.history.write(json.dumps(record) + "\n")

    # MARK: Writes

    async def _publish(self, person):
        self._count += 1
        text = f"post {self._count} of {person.number} {secrets.token_hex(4)}"
        # Until it is acknowledged it may be there or not; the check allows both.
        person.unknown.add(text)
        post = await person.publish(text)
        person.unknown.discard(text)
        person.posts[text] = post
        person.order.append(post)
        return {"post": post, "text": text}

    async def _edit(self, person):
        """One edit of a person's register at a time, so that the versions have an order."""
        person.edits = True
        person.tried_version += 1
        version = person.tried_version
        try:
            await person.call(
                "PUT", f"/api/v1/statuses/{person.register}", key=secrets.token_hex(12),
                status=f"register of {person.number} version {version}")
            person.version = version
        finally:
            person.edits = False
        return {"post": person.register, "version": version}

    async def _like(self, person):
        """A post of somebody followed, each at most once."""
        author = self.random.choice(person.following or [person])
        fresh = [post for post in author.order[-NEWEST:]
                 if post not in person.likes and post not in person.unknown_likes]
        if not fresh:
            return await self._home(person)
        post = self.random.choice(fresh)
        person.unknown_likes.add(post)
        answer = await person.call(
            "POST", f"/api/v1/statuses/{post}/favourite", key=secrets.token_hex(12))
        person.unknown_likes.discard(post)
        person.likes.add(post)
        if not answer["favourited"]:
            self._found_stale("like", post, "its own answer does not show it")
        return {"post": post}

    # MARK: Reads

    async def _own(self, person):
        """One's newest post, or one's register: as it was acknowledged, or newer."""
        if self.random.random() < 0.5:
            post = person.order[-1]
            try:
                await person.call("GET", f"/api/v1/statuses/{post}")
            except Failed as failure:
                if failure.status == 404:
                    self._found_stale("post", post, "404 after it was acknowledged")
                raise
            return {"post": post}
        acknowledged = person.version
        answer = await person.call("GET", f"/api/v1/statuses/{person.register}")
        shown = int(re.search(r"version (\d+)", answer["content"]).group(1))
        if shown < acknowledged:
            self._found_stale("edit", person.register, f"{shown} after {acknowledged}")
        return {"post": person.register, "version": shown}

    async def _profile(self, person):
        newest = person.order[-NEWEST:]
        page = await person.call("GET", f"/api/v1/accounts/{person.id}/statuses?limit=40")
        if len(page) == 40:
            # Posts that were acknowledged later may have pushed older ones off the page.
            newest = [post for post in newest if int(post) >= int(page[-1]["id"])]
        missing = set(newest) - {status["id"] for status in page}
        for post in sorted(missing):
            self._found_stale("profile", post, "not in a list read after it was acknowledged")
        return {"shown": len(page)}

    async def _home(self, person):
        page = await person.call("GET", "/api/v1/timelines/home?limit=20")
        return {"shown": len(page)}

    def _found_stale(self, what, post, detail):
        self.stale.append(f"{what} {post}: {detail}")
