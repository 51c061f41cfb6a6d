"""Follows and home timelines across shards."""
import collections
import concurrent.futures
import math

from people import eventually, next_page

SIGN_UPS = 200


def test_a_post_reaches_followers_on_every_shard(cluster, site, ana):
    followers, shards = [], collections.Counter()
    while len(shards) < len(cluster.names("shard")):
        follower = site.person()
        shards[cluster.shard_of(follower)] += 1
        followers.append(follower)
        assert len(followers) < 100, f"the hash leaves shards out: {shards}"
    for follower in followers:
        follower.follow(ana)
        follower.home()

    status = ana.publish("for everybody", [ana.upload()])

    for follower in followers:
        follower.sees(status)
        assert follower.home_ids().count(status["id"]) == 1


def test_relationships_are_true_from_both_sides(ana, ben):
    ana.follow(ben)

    (mine,) = ana.get("/api/v1/accounts/relationships", **{"id[]": ben.id})
    assert mine["following"] is True
    eventually(lambda: ben.get("/api/v1/accounts/relationships", **{"id[]": ana.id})[0]
               ["followed_by"], "the mirror of the follow")


def test_a_follow_brings_the_past(ana, ben):
    past = [ana.publish(f"past {number}") for number in range(3)]
    ben.home()

    ben.follow(ana)

    for status in past:
        ben.sees(status)


def test_an_unfollow_takes_posts_away_at_once(ana, ben):
    ben.follow(ana)
    ben.sees(ana.publish("seen"))

    ben.unfollow(ana)

    assert ben.home_ids() == []


def test_a_follow_after_an_unfollow_counts(ana, ben):
    for _ in range(3):
        ben.follow(ana)
        ben.unfollow(ana)
    ben.follow(ana)

    ben.sees(ana.publish("again"))
    eventually(lambda: ben.get(f"/api/v1/accounts/{ana.id}")["followers_count"] == 1,
               "one follower")


def test_a_deleted_post_leaves_the_feeds(ana, ben):
    ben.follow(ana)
    status = ana.publish("soon gone")
    ben.sees(status)

    ana.call("DELETE", f"/api/v1/statuses/{status['id']}")

    assert status["id"] not in ana.home_ids()
    ben.sees_no_more(status)


def test_ones_own_posts_are_in_ones_own_feed(ana):
    status = ana.publish("to myself")

    assert status["id"] in ana.home_ids()


def test_a_feed_is_newest_first_and_paged_by_links(ana, ben):
    ben.follow(ana)
    ben.home()
    made = [ana.publish(f"number {number}")["id"] for number in range(9)]
    eventually(lambda: len(ben.home_ids(limit=40)) == 9, "nine posts")

    assert ben.whole_home(limit=4) == list(reversed(made))


def test_a_page_stays_where_it_is_while_others_post(ana, ben):
    ben.follow(ana)
    ben.home()
    made = [ana.publish(f"number {number}")["id"] for number in range(6)]
    eventually(lambda: len(ben.home_ids(limit=40)) == 6, "six posts")
    first = ben.call("GET", "/api/v1/timelines/home?limit=3")

    newer = ana.publish("meanwhile")
    ben.sees(newer)
    second = ben.call("GET", next_page(first, ben.site.url))
    back = ben.call("GET", next_page(first, ben.site.url, "prev"))

    assert [s["id"] for s in first.json()] == made[:2:-1]
    assert [s["id"] for s in second.json()] == made[2::-1]
    assert [s["id"] for s in back.json()] == [newer["id"]]


def test_min_id_begins_just_after_and_since_id_at_the_newest(ana):
    made = [ana.publish(f"number {number}")["id"] for number in range(5)]

    after = ana.home_ids(min_id=made[0], limit=2)
    newest = ana.home_ids(since_id=made[0], limit=2)

    assert after == [made[2], made[1]]
    assert newest == [made[4], made[3]]


def test_followers_and_following_are_paged(site, ana):
    fans = site.people(5)
    for fan in fans:
        fan.follow(ana)
    eventually(lambda: len(ana.get(f"/api/v1/accounts/{ana.id}/followers")) == 5, "five followers")
    seen, path = [], f"/api/v1/accounts/{ana.id}/followers?limit=2"

    while path:
        answer = ana.call("GET", path)
        seen += [account["id"] for account in answer.json()]
        path = next_page(answer, site.url)

    assert sorted(seen) == sorted(fan.id for fan in fans)
    assert [a["id"] for a in fans[0].get(f"/api/v1/accounts/{fans[0].id}/following")] == [ana.id]


def test_sign_ups_spread_over_the_shards(cluster, site):
    """Two hundred real sign-ups; that 100,000 keys spread evenly is a test of the values."""
    def people():
        return {shard: int(cluster.sql(shard, "SELECT count(*) FROM accounts.account")[0][0])
                for shard in cluster.names("shard")}

    before = people()
    site.application_token()
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: site.at(site.url).person(), range(SIGN_UPS)))
    came = {shard: count - before[shard] for shard, count in people().items()}

    # Five standard deviations of a fair draw.
    fair = SIGN_UPS / len(came)
    slack = 5 * math.sqrt(fair * (1 - 1 / len(came)))
    assert sum(came.values()) == SIGN_UPS
    assert all(abs(count - fair) <= slack for count in came.values()), came
