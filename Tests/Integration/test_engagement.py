"""What people do with posts of others, as Mastodon.py asks for it: pass on, follow tags, keep, vote."""
import datetime

import mastodon
import pytest

from people import eventually


def client(person):
    return mastodon.Mastodon(access_token=person.token, api_base_url=person.site.url)


@pytest.fixture
def cat(site):
    return site.person()


def test_a_reblog_reaches_followers_once_and_goes_with_its_original(ana, ben, cat):
    of_ben, of_cat = client(ben), client(cat)
    cat.follow(ben)
    cat.follow(ana)
    cat.home()
    original = client(ana).status_post("pass me on")
    cat.sees({"id": str(original.id)})

    reblog = of_ben.status_reblog(original)
    again = of_ben.status_reblog(original)

    assert reblog.id == again.id and reblog.reblog.id == original.id
    eventually(lambda: [s for s in of_cat.timeline_home() if s.id == reblog.id], "the reblog")
    assert [s.reblog.id if s.reblog else s.id for s in of_cat.timeline_home()] == [original.id]
    eventually(lambda: of_cat.status(original).reblogs_count == 1, "one reblog")
    assert [str(a.id) for a in of_cat.status_reblogged_by(original)] == [ben.id]
    assert of_ben.status(original).reblogged

    client(ana).status_delete(original)

    assert not [s for s in of_cat.timeline_home() if s.reblog and s.reblog.id == original.id]
    eventually(lambda: not of_ben.account_statuses(ben.id), "no reblog of what is gone")


def test_followed_hashtags_come_into_the_home_timeline(ana, ben):
    of_ana, of_ben = client(ana), client(ben)
    tag = "tag" + ana.name
    of_ben.tag_follow(tag)

    status = of_ana.status_post(f"look #{tag.upper()}")

    eventually(lambda: [s for s in of_ben.timeline_hashtag(tag) if s.id == status.id], "the tag")
    ben.sees({"id": str(status.id)})
    assert [t.name for t in of_ben.followed_tags()] == [tag]
    assert of_ben.tag(tag).following
    of_ben.tag_unfollow(tag)
    of_ana.status_delete(status)
    eventually(lambda: not of_ben.timeline_hashtag(tag), "nothing with the tag")


def test_the_public_timeline_has_new_posts(ana, ben):
    status = client(ana).status_post("for everybody")

    assert status.id in [s.id for s in client(ben).timeline_public(limit=40)]
    assert status.id in [s.id for s in client(ben).timeline_local(limit=40)]


def test_bookmarks_are_put_together_in_collections(ana, ben):
    path = "/api/tessera/v1/collections"
    collection = ben.post(path, name="Tiles")
    made = [ana.publish(f"tile {number}")["id"] for number in range(3)]

    for status in made:
        ben.post(f"{path}/{collection['id']}/statuses", status_id=status)

    listed = ben.get(f"{path}/{collection['id']}/statuses")
    assert [status["id"] for status in listed] == list(reversed(made))
    assert [str(status.id) for status in client(ben).bookmarks()] == list(reversed(made))
    client(ben).status_unbookmark(made[0])
    assert ben.get(path)[0]["items_count"] == 2
    ana.call("GET", f"{path}/{collection['id']}", expect=(404,))


def test_a_follow_without_reblogs_has_none(ana, ben, cat):
    client(cat).account_follow(ben.id, reblogs=False)
    cat.home()
    reblog = client(ben).status_reblog(client(ana).status_post("pass me on"))

    own = client(ben).status_post("my own")

    cat.sees({"id": str(own.id)})
    assert str(reblog.id) not in cat.home_ids()


def test_a_poll_takes_one_vote_of_each(ana, ben, cat):
    of_ana, of_ben = client(ana), client(ben)
    poll = of_ana.make_poll(["red", "blue"], expires_in=600)

    status = of_ana.status_post("which?", poll=poll)
    of_ben.poll_vote(status.poll, [1])
    client(cat).poll_vote(status.poll, [1])

    with pytest.raises(mastodon.MastodonAPIError):
        of_ben.poll_vote(status.poll, [0])
    seen = of_ben.poll(status.poll)
    assert [option.votes_count for option in seen.options] == [0, 2]
    assert seen.voted and seen.own_votes == [1] and seen.voters_count == 2
    assert of_ana.status(status).poll.votes_count == 2


def test_a_scheduled_post_waits_can_be_moved_and_taken_back(ana):
    of_ana = client(ana)
    photo = ana.upload()
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)

    waiting = of_ana.status_post("later", media_ids=[photo["id"]], scheduled_at=soon)
    moved = of_ana.scheduled_status_update(waiting, soon + datetime.timedelta(hours=1))

    assert moved.scheduled_at > soon
    assert [s.id for s in of_ana.scheduled_statuses()] == [waiting.id]
    assert not of_ana.account_statuses(ana.id)
    of_ana.scheduled_status_delete(waiting)
    assert not of_ana.scheduled_statuses()
    assert of_ana.status_post("now", media_ids=[photo["id"]]).media_attachments


def test_a_draft_is_kept_until_it_is_published(ana):
    path = "/api/tessera/v1/drafts"
    draft = ana.post(path, status="so f")

    ana.call("PUT", f"{path}/{draft['id']}", json={"status": "so far", "version": 1})
    ana.call("PUT", f"{path}/{draft['id']}", json={"status": "lost", "version": 1}, expect=(409,))

    assert ana.get(path)[0]["params"]["status"] == "so far"
    ana.publish("so far, so good", draft_id=draft["id"])
    assert ana.get(path) == []


def test_people_and_places_have_their_posts(ana, ben, cat):
    photo = ana.upload()
    place = "Place of " + ana.name
    status = ana.publish("here we are", [photo], place={"name": place},
                         people=[{"account_id": ben.id, "media_id": photo["id"], "x": 0.5, "y": 0.5}])

    tagged = f"/api/tessera/v1/accounts/{ben.id}/tagged"
    eventually(lambda: [s["id"] for s in cat.get(tagged)] == [status["id"]], "the post with ben")
    eventually(lambda: [s["id"] for s in cat.get(f"/api/tessera/v1/timelines/place/{place}")]
               == [status["id"]], "the post from the place")
    ben.post(f"/api/tessera/v1/statuses/{status['id']}/untag")
    eventually(lambda: cat.get(tagged) == [], "no post with ben")
    assert "people" not in cat.get(f"/api/v1/statuses/{status['id']}")


def test_an_author_says_who_may_comment(ana, ben, cat):
    cat.follow(ana)
    status = ana.publish("quiet", comments="followers")

    ben.call("POST", "/api/v1/statuses", expect=(403,),
             json={"status": "hm", "in_reply_to_id": status["id"]})
    cat.publish("nice", in_reply_to_id=status["id"])


def test_pins_come_first_and_edits_are_kept(ana):
    of_ana = client(ana)
    first, second = of_ana.status_post("first"), of_ana.status_post("second")

    of_ana.status_pin(first)
    of_ana.status_update(second, "changed")

    assert [s.id for s in of_ana.account_statuses(ana.id, pinned=True)] == [first.id]
    assert len(of_ana.status_history(second)) == 2
    assert of_ana.status_source(second).text == "changed"
