"""Posts with photos: create, read, edit, delete, like; idempotency keys; pages."""
import secrets

from people import eventually, next_page


def test_a_photo_post_has_all_that_a_client_needs(ana, ben):
    media = ana.upload(description="Two tiles")

    status = ana.publish("hello", [media])
    seen = ben.get(f"/api/v1/statuses/{status['id']}")

    (attachment,) = seen["media_attachments"]
    assert seen["account"]["id"] == ana.id
    assert attachment["type"] == "image" and attachment["description"] == "Two tiles"
    assert attachment["blurhash"] and attachment["meta"]["original"]["width"] > 0
    for key in ("url", "preview_url"):
        picture = ben.site.session.get(attachment[key], timeout=20)
        assert picture.status_code == 200, attachment[key]
        assert picture.headers["Content-Type"].startswith("image/")


def test_a_photo_is_served_in_ranges_and_validated(ana):
    url = ana.upload()["url"]
    session = ana.site.session

    whole = session.get(url, timeout=20)
    part = session.get(url, headers={"Range": "bytes=10-19"}, timeout=20)
    again = session.get(url, headers={"If-None-Match": whole.headers["ETag"]}, timeout=20)

    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert again.status_code == 304
    assert "immutable" in whole.headers["Cache-Control"]


def test_ten_photos_go_in_one_post_and_eleven_do_not(ana):
    photos = [ana.upload() for _ in range(11)]

    status = ana.publish("ten", photos[:10])
    refused = ana.call("POST", "/api/v1/statuses", expect=(422,), json={
        "status": "eleven", "media_ids": [photo["id"] for photo in photos]})

    assert [item["id"] for item in status["media_attachments"]] == [p["id"] for p in photos[:10]]
    assert refused.json()["error"]


def test_one_key_makes_one_post(ana):
    key = secrets.token_hex(8)

    first = ana.publish("once", key=key)
    second = ana.publish("once", key=key)

    assert first["id"] == second["id"]
    assert len(ana.get(f"/api/v1/accounts/{ana.id}/statuses")) == 1


def test_a_key_with_another_body_is_refused(ana):
    key = secrets.token_hex(8)
    ana.publish("once", key=key)

    answer = ana.call("POST", "/api/v1/statuses", key=key, json={"status": "twice"},
                      expect=(422,))

    assert answer.json()["error"]


def test_an_edit_is_seen_by_others(ana, ben):
    status = ana.publish("before")

    ana.call("PUT", f"/api/v1/statuses/{status['id']}", json={"status": "after"})

    seen = eventually(
        lambda: (lambda s: s if "after" in s["content"] else None)(
            ben.get(f"/api/v1/statuses/{status['id']}")), "the edited text")
    assert seen["edited_at"]


def test_a_deleted_post_is_gone(ana, ben):
    status = ana.publish("soon gone")

    ana.call("DELETE", f"/api/v1/statuses/{status['id']}")

    ben.call("GET", f"/api/v1/statuses/{status['id']}", expect=(404,))
    assert not ana.get(f"/api/v1/accounts/{ana.id}/statuses")


def test_nobody_deletes_or_edits_the_post_of_another(ana, ben):
    status = ana.publish("mine")

    ben.call("DELETE", f"/api/v1/statuses/{status['id']}", expect=(403, 404))
    ben.call("PUT", f"/api/v1/statuses/{status['id']}", json={"status": "x"}, expect=(403, 404))

    assert "mine" in ana.get(f"/api/v1/statuses/{status['id']}")["content"]


def test_likes_are_counted_exactly(site, ana):
    status = ana.publish("like me")
    fans = site.people(5)

    for fan in fans:
        fan.post(f"/api/v1/statuses/{status['id']}/favourite")
        fan.post(f"/api/v1/statuses/{status['id']}/favourite")
    fans[0].post(f"/api/v1/statuses/{status['id']}/unfavourite")

    eventually(lambda: ana.get(f"/api/v1/statuses/{status['id']}")["favourites_count"] == 4,
               "four likes")
    assert fans[1].get(f"/api/v1/statuses/{status['id']}")["favourited"] is True
    assert fans[0].get(f"/api/v1/statuses/{status['id']}")["favourited"] is False


def test_an_authors_posts_are_paged_without_gap_or_repeat(ana):
    made = [ana.publish(f"post {number}")["id"] for number in range(7)]
    seen, path = [], f"/api/v1/accounts/{ana.id}/statuses?limit=3"

    while path:
        answer = ana.call("GET", path)
        seen += [status["id"] for status in answer.json()]
        path = next_page(answer, ana.site.url)

    assert seen == list(reversed(made))


def test_what_was_looked_at_is_counted_for_the_author_alone(ana, ben):
    status = ana.publish("look at me")
    insights = f"/api/tessera/v1/statuses/{status['id']}/insights"
    view = {"id": status["id"], "position": 0, "milliseconds": 1200}

    for _ in range(2):
        ben.call("POST", "/api/tessera/v1/interactions", expect=(202,), json={
            "surface": "home", "views": [view]})
    ben.post(f"/api/v1/statuses/{status['id']}/favourite")
    eventually(lambda: ana.get(insights)["views_count"] == 2, "two views are counted")

    assert ana.get(insights)["favourites_count"] == 1
    ben.call("GET", insights, expect=(404,))
    ben.call("POST", "/api/tessera/v1/interactions", expect=(422,), json={"views": []})
