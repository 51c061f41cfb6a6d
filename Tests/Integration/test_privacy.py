"""Private accounts, follow requests, blocks, mutes, restrictions, close friends: through the balancer, with real caches."""
from people import eventually
from test_pages import HOME, friends, ids, never_again, warm

MASTODON_RELATIONSHIP = {
    "id", "following", "showing_reblogs", "notifying", "languages", "followed_by", "blocking",
    "blocked_by", "muting", "muting_notifications", "muting_expires_at", "requested",
    "requested_by", "domain_blocking", "endorsed", "note"}


def lock(person, locked=True):
    person.call("PATCH", "/api/v1/accounts/update_credentials", json={"locked": locked})


def relationship(person, other):
    return person.get("/api/v1/accounts/relationships", **{"id[]": other.id})[0]


def requests_of(person):
    return [account["id"] for account in person.get("/api/v1/follow_requests")]


def let_in(owner, follower):
    follower.follow(owner)
    eventually(lambda: follower.id in requests_of(owner), "the request")
    owner.post(f"/api/v1/follow_requests/{follower.id}/authorize")
    eventually(lambda: relationship(follower, owner)["following"], "the follow")


def test_a_private_account_lets_followers_in_one_by_one(site):
    ana, ben, eve = site.people(3)
    lock(ana)
    post = ana.publish("for those I know")
    ben.home()

    asked = ben.follow(ana)
    eve.follow(ana)
    eventually(lambda: set(requests_of(ana)) == {ben.id, eve.id}, "two requests")

    assert asked["requested"] and not asked["following"]
    assert relationship(ana, ben)["requested_by"]
    ben.call("GET", f"/api/v1/statuses/{post['id']}", expect=(404,))
    answer = ana.post(f"/api/v1/follow_requests/{ben.id}/authorize")
    assert answer["followed_by"] and not answer["requested_by"]
    ana.post(f"/api/v1/follow_requests/{eve.id}/reject")
    ben.sees(post)
    assert MASTODON_RELATIONSHIP <= relationship(ben, ana).keys()
    eventually(lambda: not relationship(eve, ana)["requested"], "the refusal")
    eve.call("GET", f"/api/v1/statuses/{post['id']}", expect=(404,))
    assert requests_of(ana) == []
    ana.call("POST", f"/api/v1/follow_requests/{eve.id}/authorize", expect=(404,))

    ana.post(f"/api/v1/accounts/{ben.id}/remove_from_followers")
    assert not relationship(ana, ben)["followed_by"]
    ben.sees_no_more(post)
    ben.call("GET", f"/api/v1/statuses/{post['id']}", expect=(404,))


def test_going_private_reaches_kept_pages_and_every_node(site):
    ana, ben, eve = site.people(3)
    post, = friends(ben, [ana])
    lists = f"/api/v1/accounts/{ana.id}/statuses"
    for person in (ben, eve):
        warm(person, lists)
    warm(ben)

    lock(ana)
    eventually(lambda: ids(eve, lists) == [], "an empty list", 5)

    never_again(eve, post, path=lists)
    for _ in range(8):
        eve.call("GET", f"/api/v1/statuses/{post['id']}", expect=(404,))
    assert eve.get(f"/api/v1/accounts/{ana.id}")["statuses_count"] == 0
    assert eve.get(f"/api/v1/accounts/{ana.id}/followers") == []
    assert post["id"] in ids(ben, lists) and post["id"] in ben.home_ids()
    lock(ana, False)
    eventually(lambda: post["id"] in ids(eve, lists), "the list again")


def test_a_suspension_reaches_kept_pages(cluster, site):
    ana, ben = site.people(2)
    post, = friends(ben, [ana])
    lists = f"/api/v1/accounts/{ana.id}/statuses"
    warm(ben)
    warm(ben, lists)

    cluster.sql(cluster.shard_of(ana), f"UPDATE accounts.account SET state = 2 WHERE id = {ana.id}")

    ben.sees_no_more(post)
    never_again(ben, post)
    unknown = ben.call("GET", "/api/v1/statuses/1", expect=(404,)).json()
    hidden = eventually(
        lambda: (answer := ben.call("GET", f"/api/v1/statuses/{post['id']}", expect=None)
                 ).status_code == 404 and answer.json(), "no post")
    assert {**hidden, "trace_id": 0} == {**unknown, "trace_id": 0}
    eventually(lambda: ben.call("GET", lists, expect=None).status_code == 404, "no list", 15)


def test_whoever_is_blocked_finds_nobody_there(site):
    ana, ben = site.people(2)
    post = ana.publish("mine")
    lock(ana)
    ben.follow(ana)
    eventually(lambda: requests_of(ana) == [ben.id], "the request")

    blocked = ana.post(f"/api/v1/accounts/{ben.id}/block")

    assert blocked["blocking"] and requests_of(ana) == []
    assert [account["id"] for account in ana.get("/api/v1/blocks")] == [ben.id]
    assert ana.get(f"/api/v1/accounts/lookup?acct={ben.name}")["id"] == ben.id
    unknown = ben.call("GET", "/api/v1/accounts/1", expect=(404,)).json()
    for path in (f"/api/v1/accounts/{ana.id}", f"/api/v1/accounts/lookup?acct={ana.name}",
                 f"/api/v1/accounts/{ana.id}/statuses", f"/api/v1/statuses/{post['id']}"):
        answer = eventually(
            lambda path=path: (answer := ben.call("GET", path, expect=None)).status_code == 404
            and answer.json(), f"nothing at {path}")
        assert {**answer, "trace_id": 0} == {**unknown, "trace_id": 0}
    ben.call("POST", f"/api/v1/accounts/{ana.id}/follow", expect=(404,))
    eventually(lambda: ben.get(f"/api/v2/search?q={ana.name}")["accounts"] == [], "no find")


def test_close_friends_see_what_is_for_them_until_they_are_none(site):
    ana, ben, eve = site.people(3)
    for person in (ben, eve):
        person.home()
        person.follow(ana)
    kept = ana.call("PUT", f"/api/tessera/v1/close_friends/{ben.id}").json()
    post = ana.publish("for few", visibility="close_friends")

    assert kept["close_friend"]
    assert post["visibility"] == "private" and post["audience"] == "close_friends"
    ben.sees(post)
    ben.get(HOME)
    other = ana.publish("for all")
    eve.sees(other)
    assert post["id"] not in eve.home_ids()
    eve.call("GET", f"/api/v1/statuses/{post['id']}", expect=(404,))

    ana.call("DELETE", f"/api/tessera/v1/close_friends/{ben.id}")

    ben.call("GET", f"/api/v1/statuses/{post['id']}", expect=(404,))
    ben.sees_no_more(post)
    never_again(ben, post)


def test_comments_of_the_restricted_wait(site):
    ana, ben, eve = site.people(3)
    post = ana.publish("comment, please")
    ana.call("PUT", f"/api/tessera/v1/restricted/{ben.id}")

    comment = ben.publish("hm", in_reply_to_id=post["id"])

    def below(person):
        context = person.get(f"/api/v1/statuses/{post['id']}/context")
        return [status["id"] for status in context["descendants"]]

    assert below(ben) == [comment["id"]], "nothing tells them"
    eventually(lambda: below(ana) == [comment["id"]], "the comment for the owner")
    assert below(eve) == []
    waiting = [status["id"] for status in ana.get("/api/tessera/v1/held_comments")]
    assert waiting == [comment["id"]]
    ana.post(f"/api/tessera/v1/held_comments/{comment['id']}/approve")
    eventually(lambda: below(eve) == [comment["id"]], "the comment for all")


def test_a_mute_ends_by_itself(ana, ben):
    post, = friends(ben, [ana])

    muted = ben.post(f"/api/v1/accounts/{ana.id}/mute", duration=2, notifications=False)

    assert muted["muting"] and not muted["muting_notifications"] and muted["muting_expires_at"]
    assert [account["id"] for account in ben.get("/api/v1/mutes")] == [ana.id]
    assert post["id"] not in ben.home_ids()
    ben.call("GET", f"/api/v1/statuses/{post['id']}")
    eventually(lambda: not relationship(ben, ana)["muting"], "the end of the mute")
    ben.sees(post)
    assert ben.get("/api/v1/mutes") == []


def test_lists_page_through_all_and_tell_nothing_else(site):
    ana = site.person()
    others = site.people(5)
    for other in others:
        ana.post(f"/api/v1/accounts/{other.id}/block")

    found, path = [], "/api/v1/blocks?limit=2"
    while path:
        answer = ana.call("GET", path)
        found += [account["id"] for account in answer.json()]
        link = answer.links.get("next", {}).get("url")
        path = link and link.removeprefix(site.url)

    assert found == [other.id for other in reversed(others)]
    note = ana.post(f"/api/v1/accounts/{others[0].id}/note", comment="from school")
    assert note["note"] == "from school"
    assert relationship(others[0], ana)["note"] == ""
