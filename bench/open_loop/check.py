"""What must be stored in the end, compared with what is: nothing acknowledged lost, nothing twice."""
import asyncio
import collections
import re

# Home timelines end here.
HOME_BOUND = 800
EFFECT_SECONDS = 120
READERS = 4


class Verdict:
    def __init__(self):
        self.lost, self.doubled, self.unexpected, self.checked = [], [], [], 0

    @property
    def clean(self):
        return not (self.lost or self.doubled or self.unexpected)

    def counts(self):
        return {"checked": self.checked, "lost": len(self.lost), "doubled": len(self.doubled),
                "unexpected": len(self.unexpected)}

    def examples(self):
        return (self.lost + self.doubled + self.unexpected)[:10]


async def check(people):
    """Reads everything back; effects of the last writes get time to arrive."""
    verdict = Verdict()
    room = asyncio.Semaphore(READERS)

    async def limited(work, *arguments):
        async with room:
            await work(*arguments)

    await asyncio.gather(*(limited(_profile, person, verdict) for person in people))
    likes = collections.Counter(post for person in people for post in person.likes)
    doubtful = collections.Counter(post for person in people for post in person.unknown_likes)
    await asyncio.gather(*(limited(_likes, person, likes, doubtful, verdict) for person in people))
    await asyncio.gather(*(limited(_home, person, verdict) for person in people))
    return verdict


def _text(status):
    return re.sub(r"<[^>]*>", "", status["content"])


async def _profile(person, verdict):
    """Every post of one person, once; whoever lost an answer may find the post or not."""
    statuses = await person.pages(f"/api/v1/accounts/{person.id}/statuses?limit=40")
    verdict.checked += len(statuses)
    shown = collections.Counter(_text(status) for status in statuses)
    for text, post in person.posts.items():
        if not shown[text]:
            verdict.lost.append(f"post {post} of {person.id}: {text}")
    for text, count in shown.items():
        if count > 1:
            verdict.doubled.append(f"{count} x {text} of {person.id}")
        if text not in person.posts and text not in person.unknown and "register" not in text:
            verdict.unexpected.append(f"{text} of {person.id}")
    register = await person.call("GET", f"/api/v1/statuses/{person.register}")
    version = int(re.search(r"version (\d+)", register["content"]).group(1))
    if version < person.version:
        verdict.lost.append(f"edit {person.version} of {person.register}, which shows {version}")


async def _likes(person, likes, doubtful, verdict):
    """The count of each post is that of the acknowledged likes; counters are folded a little later."""
    wanted = {post for post in person.order if likes[post] or doubtful[post]}
    deadline = asyncio.get_running_loop().time() + EFFECT_SECONDS
    for post in sorted(wanted):
        verdict.checked += 1
        while True:
            status = await person.call("GET", f"/api/v1/statuses/{post}")
            count = status["favourites_count"]
            if likes[post] <= count <= likes[post] + doubtful[post]:
                break
            if asyncio.get_running_loop().time() > deadline:
                list_ = verdict.lost if count < likes[post] else verdict.doubled
                list_.append(f"{count} likes of {post} instead of {likes[post]}")
                break
            await asyncio.sleep(0.5)


async def _home(person, verdict):
    """The newest posts of everybody followed and one's own, each once and in order."""
    authors = person.following + [person]
    expected = sorted((int(post) for author in authors for post in author.posts.values()),
                      reverse=True)
    registers = {int(author.register) for author in authors}
    texts = {text for author in authors for text in author.unknown}
    deadline = asyncio.get_running_loop().time() + EFFECT_SECONDS
    while True:
        statuses = await person.pages("/api/v1/timelines/home?limit=40")
        doubtful = {int(s["id"]) for s in statuses if _text(s) in texts}
        shown = [int(s["id"]) for s in statuses if int(s["id"]) not in registers | doubtful]
        # The bound counts registers and doubtful posts too.
        full = len(statuses) >= HOME_BOUND
        wanted = expected[:len(shown)] if full else expected
        if shown == wanted or asyncio.get_running_loop().time() > deadline:
            break
        await asyncio.sleep(0.5)
    verdict.checked += len(shown)
    times = collections.Counter(shown)
    verdict.doubled += [f"{post} in the home of {person.id}" for post in times if times[post] > 1]
    verdict.lost += [f"{post} not in the home of {person.id}" for post in set(wanted) - set(shown)]
    verdict.unexpected += [
        f"{post} in the home of {person.id}" for post in set(shown) - set(wanted)]
    if shown != sorted(shown, reverse=True):
        verdict.unexpected.append(f"the home of {person.id} is out of order")
