"""What people do with posts of others, as Mastodon.py asks for it: pass on, follow tags, keep, vote."""
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
    assert [a.id for a in of_cat.status_reblogged_by(original)] == [int(ben.id)] or \
        [str(a.id) for a in of_cat.status_reblogged_by(original)] == [ben.id]
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
